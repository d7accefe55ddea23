"""benchmarks/measure_variations.py"""

import json

import pytest
import torch

from benchmarks import measure_variations
from benchmarks.measure_variations import compare
from psp_hub import PSPConfig, PSPModel
from psp_hub.encoder import PSPEncoder
from psp_hub.face_parser import FaceParser
from psp_hub.generators import load_generator
from psp_hub.images.label_maps import labels_to_image
from training.networks.perceptual import PerceptualDistance


@pytest.mark.slow
def test_equal_pictures_agree_and_do_not_differ(edge_detector_file):
    parser, distance = FaceParser.from_starter(), PerceptualDistance(edge_detector_file)
    with torch.no_grad():
        images = torch.rand(1, 3, 256, 256) * 2 - 1
        assert compare(images.repeat(2, 1, 1, 1), parser, distance, [(0, 1)]) == {
            "pixel_accuracy": 1,
            "mean_iou": 1,
            "perceptual": pytest.approx(0, abs=1e-6),
        }
        half = torch.cat([images, images.flip(-1)])
        found = compare(half, parser, distance, [(0, 1)])
    assert found["pixel_accuracy"] < 1 and found["perceptual"] > 0.01


@pytest.mark.slow
def test_the_program(generator_dir, make_encoder, tmp_path, capsys):
    small = dict(make_encoder().config) | {"in_channels": 19, "stem_kernel": 1}
    torch.manual_seed(0)
    model = PSPModel(PSPEncoder.from_config(small), load_generator(generator_dir), PSPConfig("segmentation", "labels"))
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "maps").mkdir()
    for i in range(3):
        labels = torch.zeros(64, 64, dtype=torch.uint8)
        labels[8 * i :, :32] = 1
        labels_to_image(labels.numpy()).save(tmp_path / "maps" / f"{i}.png")
    command = [str(tmp_path / "model"), str(tmp_path / "maps"), "--num_inputs", "2", "--num_variations", "3"]
    args = measure_variations.parse_args([*command, "--output_dir", str(tmp_path / "report")])
    report = measure_variations.main(args)
    assert json.loads(capsys.readouterr().out) == report == measure_variations.main(args), "the same every time"
    assert report["count"] == 2 and report["variations"] == 3
    assert 0 < report["variations of one input"]["mean_iou"] < 1
    assert (tmp_path / "report" / "variations.png").is_file()
