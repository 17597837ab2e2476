"""Tests of what measures and stores the generators that come with ganlib."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import pretrained
from ganlib import metrics, models, stacks


@pytest.mark.slow
@pytest.mark.real_data
def test_a_run_is_stored_in_half_precision_with_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file loads, says how it was trained, and holds a poor generator's poor figures and real digits' good ones."""
    monkeypatch.setattr(pretrained, "PACKAGE", tmp_path)
    (tmp_path / "metrics.csv").write_text("iteration,epoch\n1,0\n7,0\n")
    plan = stacks.StackPlan((1, 28, 28), [stacks.Stage(4), stacks.Stage(8)])
    generator, _ = models.conditional_dcgan(plan, 6, 10)
    info = {"latent_dim": 6, "classes": list("0123456789"), "image_size": 28, "batch_norm": "running", "seed": 0}
    models.save_generator(tmp_path / "generator.safetensors", generator, info)
    torch.save({"weights": metrics.DigitClassifier.pretrained().state_dict()}, tmp_path / "x.pt")

    root = Path(os.environ["GANLIB_DATA"])
    pretrained.ship_generator("mnist_cdcgan", tmp_path, root=root, classifier=tmp_path / "x.pt", command="train me")

    stored: Any = models.load_generator(tmp_path / "models/pretrained/mnist_cdcgan.safetensors")
    assert {weight.dtype for weight in stored.parameters()} == {torch.float16}
    assert stored.info.items() >= (info | {"command": "train me", "iterations": 7}).items()
    figures = stored.info["figures"]
    assert figures["read_as_asked"] < 0.5 < 0.98 < figures["real"]["read_as_asked"]
    assert figures["frechet_distance"] > 10 * figures["real"]["frechet_distance"] > 0
