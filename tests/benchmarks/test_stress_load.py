"""A few of the people of `benchmarks/stress_load.py`; the program itself sends as many as one likes."""

import pytest

from benchmarks.stress_load import parse_args, stress


@pytest.mark.slow
def test_people_beside_those_who_leave(model_dir, tmp_path, capsys):
    options = "--clients 3 --requests 3 --leave_every 0.2 --rest 30".split()
    assert stress(parse_args([*options, "--model", str(model_dir)]), tmp_path) == []
    printed = dict(line.strip().rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:-2])
    assert int(printed["answered"]) == 9
    assert int(printed["uploads cut off"]) and int(printed["left before the answer"])
    assert printed["wrong"] == printed["tracebacks in the log"] == printed["files left"] == "0"
