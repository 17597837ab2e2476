"""Tests of metrics as curves."""

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from ganlib.errors import GanlibError
from ganlib.viz import LossCurves


def _metrics(iteration):
    return {
        "discriminator_loss": torch.tensor(1 / iteration),
        "generator_loss": torch.tensor(2.0 * iteration),
        "real_score": torch.tensor(0.75),
    }


@pytest.fixture
def plotted(monkeypatch):
    """What the figure that is saved has in it: for each axes its curves, by label, as lists of points."""
    seen = []

    def look(figure, path, **options):
        curves = [{line.get_label(): line.get_xydata().tolist() for line in axes.lines} for axes in figure.axes]
        seen.append(curves)
        save(figure, path, **options)

    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", look)
    return seen


def test_every_kth_point_and_the_last_are_plotted(run, tmp_path, plotted):
    """Losses above and scores below, at 2, 4 and the last iteration, with the values that were."""
    run.go(LossCurves(tmp_path / "losses.png", every=2), 5, _metrics)
    losses, scores = plotted[0]
    assert losses == {
        "discriminator loss": [[2, 1 / 2], [4, 1 / 4], [5, pytest.approx(1 / 5)]],
        "generator loss": [[2, 4], [4, 8], [5, 10]],
    }
    assert scores == {"real score": [[2, 0.75], [4, 0.75], [5, 0.75]]}


def test_a_metric_that_is_not_always_there_is_plotted_where_it_is(run, tmp_path, plotted):
    """A lazy penalty has points at its own iterations alone."""
    run.go(
        LossCurves(tmp_path / "x.png", every=1),
        6,
        lambda i: _metrics(i) | ({"r1": torch.ones(())} if i % 3 == 0 else {}),
    )
    assert plotted[0][0]["r1"] == [[3, 1], [6, 1]]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_ending_says_the_format(run, tmp_path, ending):
    """The file begins as a file of its format does, and lies alone in its folder, which was made."""
    run.go(LossCurves(tmp_path / "run" / f"losses.{ending}", every=1), 3, _metrics)
    (path,) = (tmp_path / "run").iterdir()
    assert path.name == f"losses.{ending}"
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending])


def test_a_run_without_an_iteration_makes_an_empty_picture(run, tmp_path):
    """Nothing to plot is no error."""
    run.go(LossCurves(tmp_path / "losses.png"), 0)
    with Image.open(tmp_path / "losses.png") as image:
        assert image.size == (800, 600)


def test_the_points_are_bounded_and_stay_even(run, tmp_path):
    """Of 1,000 iterations at most 10 points are kept, each divisible by an interval that has doubled."""
    curves = LossCurves(tmp_path / "x.png", every=1, max_points=10)
    for run.iteration in range(1, 1001):
        run.metrics = _metrics(run.iteration)
        curves.on_iteration(run)
        assert len(curves.state_dict()["points"]) <= 10
    assert curves.every == 128
    assert [iteration for iteration, _ in curves.state_dict()["points"]] == list(range(128, 1001, 128))


def test_the_state_makes_the_round_trip(run, tmp_path, plotted):
    """A resumed run's curves are the uninterrupted one's, through a file that only plain values pass."""
    whole, first, second = (LossCurves(tmp_path / f"{i}.png", every=1, max_points=6) for i in range(3))
    run.go(whole, 9, _metrics)
    run.iteration = 0
    for _ in range(5):
        run.iteration += 1
        run.metrics = _metrics(run.iteration)
        first.on_iteration(run)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    run.go(second, 9, _metrics)
    assert plotted[0] == plotted[1]
    assert len(plotted[0][0]["generator loss"]) == 5


def test_a_last_point_out_of_turn_is_plotted_and_not_kept(run, tmp_path, plotted):
    """A run that stops at 5 shows 5; its state does not hold it, and the same run taken on to 8 does not show it."""
    curves = LossCurves(tmp_path / "x.png", every=2)
    run.go(curves, 5, _metrics)
    assert [iteration for iteration, _ in curves.state_dict()["points"]] == [2, 4]
    run.go(curves, 8, _metrics)
    shown = [[iteration for iteration, _ in losses["generator loss"]] for losses, _ in plotted]
    assert shown == [[2, 4, 5], [2, 4, 6, 8]]


def test_a_run_that_is_over_keeps_its_picture(run, tmp_path, plotted):
    """Resumed without an iteration to do, and so without metrics, it does not lose the last point."""
    run.go(LossCurves(tmp_path / "x.png", every=2), 5, _metrics)
    run.metrics = {}
    run.go(LossCurves(tmp_path / "x.png", every=2), 5)
    assert len(plotted) == 1


def test_noted_metrics_are_those_of_their_iteration(run, tmp_path):
    """A trainer that reuses its dict of metrics does not change what was noted."""
    curves, run.metrics = LossCurves(tmp_path / "x.png", every=1), {}
    for run.iteration in (1, 2):
        run.metrics["loss"] = torch.tensor(float(run.iteration))
        curves.on_iteration(run)
    assert curves.state_dict()["points"] == [[1, {"loss": 1.0}], [2, {"loss": 2.0}]]


def test_a_folder_that_cannot_be_made_is_refused_at_the_start(run, tmp_path):
    """Before anything is trained, an OSError of ours names the folder."""
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="run cannot be written to") as caught:
        LossCurves(tmp_path / "run" / "losses.png").on_start(run)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, r"every \(=0\)"),
        ({"max_points": 1}, r"max_points \(=1\)"),
        ({"path": "losses.gnp"}, r"path \(=losses.gnp\).*png"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each bad argument, an ending that cannot be drawn among them, is a ValueError of ours before the run begins."""
    with pytest.raises(ValueError, match=message) as caught:
        LossCurves(**{"path": "losses.png"} | arguments)
    assert isinstance(caught.value, GanlibError)
