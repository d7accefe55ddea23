"""What several processes share besides gradients, so that they train as one process on the whole batch would."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from training.settings.run import BatchNormMode

kept_groups: list[object] = []


def num_processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def keep_process_group() -> None:
    """Keep the group of processes until this process is gone, whoever else lets go of it.

    For torch 2.13, which may hang at the end of a run: the last to let go of a gloo group (DistributedDataParallel, as
    a rule) waits for the group's thread while it holds Python's lock, and that thread needs the lock to drop its last
    work. `run_to_exit` ends the process without taking this module apart. Both can go once the destructor of
    ProcessGroupGloo lets go of the lock: when the test that shows the thread's end without this passes for long.
    """
    if dist.is_available() and dist.is_initialized():
        kept_groups.append(dist.group.WORLD)


def process_mean(value: Tensor) -> Tensor:
    """Mean of a value over all processes, without gradient: what a loss is to be divided by.

    The gradients of the processes are averaged. A loss that is a ratio over the batch, sum(a) / sum(b), is that of the
    whole batch if every process divides its sum(a) by the mean of all sum(b).

    Alone, or where no gradients are wanted (each process then validates a part of its own), the value itself.
    """
    if num_processes() == 1 or not torch.is_grad_enabled():
        return value.detach()
    shared = value.detach().clone()
    dist.all_reduce(shared)
    return shared / num_processes()


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of all processes, for devices that torch.nn.SyncBatchNorm has no kernel for.

    Every process must bring the same number of examples. Parameters and buffers are those of BatchNorm2d.
    """

    @classmethod
    def like(cls, layer: nn.BatchNorm2d) -> "SharedBatchNorm2d":
        """One with the parameters and buffers of a layer: the same tensors."""
        shared = cls(layer.num_features, layer.eps, layer.momentum, device="meta").train(layer.training)
        shared.weight, shared.bias = layer.weight, layer.bias
        for name, value in layer.named_buffers():
            setattr(shared, name, value)
        return shared

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or num_processes() == 1:
            return super().forward(x)
        values = x.to(self.weight.dtype)  # [N, C, H, W]; statistics are not for half precision
        mean = all_reduce(values.mean(dim=(0, 2, 3))) / num_processes()  # [C], with gradients to all processes
        centred = values - mean[:, None, None]
        variance = all_reduce(centred.square().mean(dim=(0, 2, 3))) / num_processes()  # [C]
        count = x.numel() // x.shape[1] * num_processes()
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)  # [C]
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def share_batch_norm(module: nn.Module) -> None:
    """Replace all batch norms in a module by `SharedBatchNorm2d`, with the same parameters and buffers."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            setattr(module, name, SharedBatchNorm2d.like(child))
        else:
            share_batch_norm(child)


def freeze_batch_norm(module: nn.Module) -> None:
    """Keep the running statistics as they are, and normalise with them in training, too."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()


def prepare_batch_norm(encoder: nn.Module, mode: BatchNormMode, device: torch.device, processes: int) -> nn.Module:
    """How the batch norms of an encoder see a batch that is spread over processes.

    Args:
        mode: `synced`, statistics of the whole batch; `local`, each process has its own, and the running ones are
            those of the main process; `frozen`, the running statistics stay as they are.
    """
    if mode == "frozen":
        freeze_batch_norm(encoder)
    elif mode == "synced" and processes > 1:
        if device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(encoder)
        share_batch_norm(encoder)
    return encoder
