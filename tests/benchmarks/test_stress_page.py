"""A few of the clients of `benchmarks/stress_page.py`; the program itself sends as many as one likes."""

import pytest

from benchmarks.stress_page import parse_args, stress


@pytest.mark.slow
def test_many_bad_and_hostile_clients(model_dir, tmp_path, capsys):
    options = "--clients 3 --requests 2 --at_once 24 --leave 2 --memory_requests 8".split()
    assert stress(parse_args([*options, "--model", str(model_dir)]), tmp_path) == []
    printed = capsys.readouterr().out
    assert "3 clients x 2 requests: 6 right" in printed and "told that the queue is full" in printed
