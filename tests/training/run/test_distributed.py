"""training.run.distributed: several processes train as one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from training.run.distributed import SharedBatchNorm2d, prepare_batch_norm, process_mean

CPU = torch.device("cpu")


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2)))


def test_alone_nothing_changes():
    value = torch.tensor(3.0, requires_grad=True)
    assert process_mean(value) == 3 and not process_mean(value).requires_grad
    plain, shared = network(), network()
    shared.load_state_dict(plain.state_dict())
    parameters = list(shared.parameters())
    prepare_batch_norm(shared, "synced", CPU, 2)
    assert all(new is old for new, old in zip(shared.parameters(), parameters, strict=True))
    assert [type(layer) for layer in (shared[1], shared[2][0])] == [SharedBatchNorm2d] * 2
    x = torch.randn(3, 1, 4, 4)
    assert torch.equal(shared(x), plain(x)) and torch.equal(shared.eval()(x), plain.eval()(x))
    assert shared.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize(("mode", "processes"), [("synced", 1), ("local", 2)])
def test_batch_norms_stay_where_they_need_not_change(mode, processes):
    prepared = prepare_batch_norm(network(), mode, CPU, processes)
    assert {type(layer) for layer in prepared.modules() if isinstance(layer, nn.BatchNorm2d)} == {nn.BatchNorm2d}
    assert all(layer.training for layer in prepared.modules())


def test_frozen_batch_norms_use_the_running_statistics():
    frozen = prepare_batch_norm(network().train(), "frozen", CPU, 1)
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    x = torch.randn(3, 1, 4, 4) + 5
    assert torch.equal(frozen(x), frozen.eval()(x))
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for threads in /proc")
def test_a_kept_process_group_is_not_taken_apart(tmp_path, kept):
    """A run once hung for good: the destructor of gloo's group waited for the group's thread."""
    program = f"""
import gc
from pathlib import Path
import torch.distributed as dist
from training.run.distributed import keep_process_group
dist.init_process_group("gloo", init_method="file://{tmp_path}/store", rank=0, world_size=1)
if {kept}:
    keep_process_group()
dist.barrier()
dist.destroy_process_group()
gc.collect()
print(any("gloo_runloop" in path.read_text() for path in Path("/proc/self/task").glob("*/comm")))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert result.stdout.strip() == str(kept)


@pytest.mark.parametrize(("processes", "torn_down"), [(1, True), (2, False)])
@pytest.mark.parametrize(("ending", "code"), [("pass", 0), ("sys.exit(7)", 7), ("1 / 0", 1)])
def test_one_of_several_processes_ends_at_once(processes, torn_down, ending, code):
    """Two runs in CI died after their last line, when a thread of gloo came while Python was taken apart."""
    program = f"""
import atexit, sys
from training.run.ending import run_to_exit
atexit.register(print, "torn down")
def main():
    print("done")
    {ending}
run_to_exit(main)
"""
    environment = os.environ | {"WORLD_SIZE": str(processes)}
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.returncode == code
    assert result.stdout.split("\n")[0] == "done"
    assert ("torn down" in result.stdout) == torn_down
    assert ("ZeroDivisionError" in result.stderr) == (code == 1)


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", ["synced", "frozen"])
def test_half_batches_add_up_to_the_whole(model_dir, tmp_path, batch_norm):
    """Weights and statistics after three steps, with 1 and 2 processes; in float64, equal to 11 digits."""

    def steps(processes: int, mode: str = batch_norm) -> dict[str, torch.Tensor]:
        output = tmp_path / f"{mode}-{processes}.safetensors"
        program = [str(Path(__file__).parents[2] / "half_batches.py"), str(model_dir), mode, str(output)]
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        result = subprocess.run([sys.executable, *launcher, *program], capture_output=True, text=True, env=os.environ)
        assert result.returncode == 0, result.stderr[-3000:]
        return load_file(output)

    def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
        pairs = [(value, other[name]) for name, value in one.items() if value.is_floating_point()]
        return max(((value - twin).abs().max() / value.abs().max()).item() for value, twin in pairs)

    whole = steps(1)
    assert difference(whole, steps(2)) < 1e-11
    if batch_norm == "synced":
        assert difference(whole, steps(2, "local")) > 1e-3
