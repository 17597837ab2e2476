"""The benchmark of gradient penalties."""

import sys

import pytest

from benchmarks.speed import penalties


@pytest.mark.parametrize("clock", [[], ["--cpu-time"]])
def test_it_prints_a_time_and_a_ratio_for_each_run(
    clock: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run of each group has the ratio 1."""
    options = ["--widths", "1", "--batch", "2", "--rounds", "2", "--iterations", "1", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["penalties", *options, *clock])
    penalties.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        *(
            f"discriminator, {kind} 1, {name}"
            for kind in ("conv", "dcgan")
            for name in ("bf16", "bf16, autocast", "fp32")
        ),
        *(f"iteration, dcgan 1, {name}, reuse_logits={reuse}" for name in ("fp32", "bf16") for reuse in (False, True)),
    ]
    firsts = [line for line in lines if "bf16:" in line or "reuse_logits=False" in line]
    assert len(firsts) == 4
    assert all(line.endswith("ratio 1.000 ± 0.000") for line in firsts)
