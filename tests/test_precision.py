"""psp_hub.precision: bfloat16 where the processor is made for it, and only there."""

import pytest
import torch

from psp_hub.precision import dtype_of, has_bfloat16, quick_autocast, quick_dtype
from training.settings.precision import resolved_precision, with_precision
from training.settings.run import parse_args

WORDS = ["--task", "sketch", "--output_dir", "out", "--pairs_dir", "pairs"]


@pytest.mark.parametrize(
    ("capabilities", "quick"),
    [({"avx2": True}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True, "avx2": True}, True), ({}, False)],
)
def test_a_processor_says_what_it_can(monkeypatch, capabilities, quick):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_bfloat16("cpu") is quick
    assert quick_dtype("cpu") is dtype_of("auto", "cpu") is (torch.bfloat16 if quick else torch.float32)
    with quick_autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is quick_dtype("cpu")
    assert resolved_precision("auto", "cpu") == ("bf16" if quick else "no")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = with_precision(parse_args([*WORDS, "--decode_precision", "auto"]))
    found = (settings.device.mixed_precision, settings.losses.drawing.decode_precision)
    assert found == (("bf16", "bf16") if quick else ("no", "no"))


def test_what_is_asked_for_is_done():
    assert dtype_of("float32", "cpu") is torch.float32 and dtype_of("bfloat16", "cuda:0") is torch.bfloat16
    assert resolved_precision("fp16") == "fp16" and resolved_precision("no", "cuda:1") == "no"
    settings = with_precision(parse_args([*WORDS, "--mixed_precision", "bf16"]))
    assert (settings.device.mixed_precision, settings.losses.drawing.decode_precision) == ("bf16", "no")


def test_an_older_torch_says_nothing(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bfloat16("cpu") and not has_bfloat16("mps")
