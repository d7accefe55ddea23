"""One of several processes that train together; `tests/training/run/test_distributed.py` starts them with torchrun.

In float64, where rounding cannot be taken for an error: a tiny encoder, the error of its styles, three steps of plain
gradient descent on examples of which only some have a w. Rank 0 writes weights and statistics to the given file.
"""

import sys

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from psp_hub import PSPModel
from training.losses import WError
from training.run.distributed import keep_process_group, prepare_batch_norm
from training.run.ending import run_to_exit

EXAMPLES = 8


def main(model_dir: str, batch_norm: str, output: str) -> None:
    dist.init_process_group("gloo")
    keep_process_group()
    rank, processes = dist.get_rank(), dist.get_world_size()
    model = PSPModel.from_pretrained(model_dir, torch_dtype=torch.float64)
    w_error = WError(model.generator).double()
    encoder = model.encoder.requires_grad_(True).train()
    encoder = DistributedDataParallel(prepare_batch_norm(encoder, batch_norm, torch.device("cpu"), processes))
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for step in range(3):
        rng = torch.Generator().manual_seed(step)
        x = torch.rand(EXAMPLES, 1, 256, 256, generator=rng, dtype=torch.float64)
        w = torch.randn(EXAMPLES, w_error.w_avg.shape[0], generator=rng, dtype=torch.float64)
        has_w = torch.arange(EXAMPLES) != 2 * step  # one process has more of them than the other
        part = slice(rank * EXAMPLES // processes, (rank + 1) * EXAMPLES // processes)
        loss = w_error.mean(encoder(x[part]), w[part], has_w[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if rank == 0:
        save_file({name: value.contiguous() for name, value in encoder.module.state_dict().items()}, output)
    dist.destroy_process_group()


if __name__ == "__main__":
    run_to_exit(lambda: main(*sys.argv[1:]))
