"""A few of the people of `benchmarks/stress_load.py`; the program itself sends as many as one likes."""

import pytest

from benchmarks.hostile.doors import ENDPOINTS, page_settings
from benchmarks.hostile.models import make_models
from benchmarks.stress_load import parse_args, stress
from psp_hub.demo.page import build_demo


def test_what_is_sent_fits_the_endpoints(tmp_path):
    demo = build_demo(list(make_models(tmp_path).values()))
    inputs = {function.api_name: function.inputs for function in demo.fns.values()}
    for task, endpoint in ENDPOINTS.items():
        assert len(page_settings(task, 0)) == len(inputs[endpoint]) - 1, task


@pytest.mark.slow
def test_people_beside_those_who_leave(model_dir, tmp_path, capsys):
    options = "--clients 3 --requests 3 --leave_every 0.2 --rest 30".split()
    assert stress(parse_args([*options, "--model", str(model_dir)]), tmp_path) == []
    printed = dict(line.strip().rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:-2])
    assert int(printed["answered"]) == 9
    assert int(printed["uploads cut off"]) and int(printed["left before the answer"])
    assert printed["wrong"] == printed["tracebacks in the log"] == printed["files left"] == "0"
