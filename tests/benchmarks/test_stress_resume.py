"""Two points of `benchmarks/stress_resume.py` in each of its settings; the program kills as often as one likes."""

import pytest

from benchmarks.stress_resume import parse_args, stress

# One process with the plain options does nothing that the first setting does not.
OPTIONS = {
    "two workers, accumulated, with Ranger": ["--workers", "2", "--accumulation", "2", "--optimizer", "ranger"],
    "two processes": ["--processes", "2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_run_killed_twice_ends_as_one_left_alone(tmp_path, capsys, options):
    args = parse_args(["--kills", "2", "--steps", "16", *options])
    assert stress(args, tmp_path) == []
    assert "2 kills, then resumed to the end: the same, bit for bit" in capsys.readouterr().out
