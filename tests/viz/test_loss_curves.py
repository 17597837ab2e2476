"""Tests of metrics as curves."""

from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ganlib import training
from ganlib.errors import CheckpointError, GanlibError
from ganlib.viz import LossCurves
from tests.training.players import Going, Tripping, points


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
        ({"against": "epochs"}, r"against \(='epochs'\) must be 'iteration' or 'epoch'"),
        ({"path": "losses.gnp"}, r"path \(=losses.gnp\).*png"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each bad argument, an ending that cannot be drawn among them, is a ValueError of ours before the run begins."""
    with pytest.raises(ValueError, match=message) as caught:
        LossCurves(**{"path": "losses.png"} | arguments)
    assert isinstance(caught.value, GanlibError)


def _mean(values):
    """In float64, of what float32 makes of the values."""
    total = 0.0
    for value in values:
        total += torch.tensor(value).item()
    return total / len(values)


def test_a_point_is_a_mean(run, tmp_path, plotted):
    """Over 7 iterations with every=4 there are the means of 4 and of 3, in float64; a lazy metric's where it was."""
    curves = LossCurves(tmp_path / "x.png", every=4, mean=True)
    run.go(curves, 7, lambda i: _metrics(i) | ({"r1": torch.tensor(1.0 * i)} if i % 3 == 0 else {}))
    losses, scores = plotted[0]
    assert losses == {
        "discriminator loss": [[4, _mean([1, 1 / 2, 1 / 3, 1 / 4])], [7, _mean([1 / 5, 1 / 6, 1 / 7])]],
        "generator loss": [[4, 5], [7, 12]],
        "r1": [[4, 3], [7, 6]],
    }
    assert scores == {"real score": [[4, 0.75], [7, 0.75]]}


@pytest.mark.parametrize("max_points", [2, 3, 5, 10])
@pytest.mark.parametrize("every", [1, 3])
def test_each_point_is_the_mean_of_its_interval(run, tmp_path, every, max_points):
    """Whatever has been merged, the point at t is the exact mean of (t - interval, t]; the points are bounded."""
    curves = LossCurves(tmp_path / "x.png", every=every, max_points=max_points, mean=True)
    for run.iteration in range(1, 301):
        run.metrics = {"loss": torch.tensor(1.0 * run.iteration)}
        curves.on_iteration(run)
        points = curves.state_dict()["points"]
        assert [iteration for iteration, _ in points] == list(range(curves.every, run.iteration + 1, curves.every))
        assert [metrics["loss"] for _, metrics in points] == [at - (curves.every - 1) / 2 for at, _ in points]
        assert len(points) <= max_points


def test_a_metric_of_one_of_two_points_keeps_its_mean(run, tmp_path):
    """Merged with a point that lacks it, a lazy metric is the mean of the one that has it."""
    curves = LossCurves(tmp_path / "x.png", every=1, max_points=2, mean=True)
    run.go(curves, 3, lambda i: {"loss": torch.tensor(1.0 * i)} | ({"r1": torch.tensor(8.0)} if i == 2 else {}))
    assert curves.state_dict()["points"] == [[2, {"loss": 1.5, "r1": 8.0}]]
    assert curves.state_dict()["sums"] == {"loss": [3.0, 1]}


def test_against_the_epoch(run, tmp_path, plotted):
    """With two of five batches an iteration, the points stand at 2/5 of the iteration, on an axis that says epoch."""
    run.batches, run.trainer = [0] * 5, SimpleNamespace(batches_per_iteration=2)

    def metrics(i):
        run.epoch = i * 2 // 5
        return _metrics(i)

    run.go(LossCurves(tmp_path / "x.png", every=3, against="epoch"), 7, metrics)
    assert plotted[0][0]["generator loss"] == [[6 / 5, 6], [12 / 5, 12], [14 / 5, 14]]


@pytest.mark.parametrize("against", ["iteration", "epoch"])
def test_the_axis_says_what_it_is(run, tmp_path, monkeypatch, against):
    """The word that was asked for stands below the lower plot."""
    labels = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: labels.append(figure.axes[1].get_xlabel()))
    run.go(LossCurves(tmp_path / "x.png", every=1, against=against), 2, _metrics)
    assert labels == [against]


@pytest.mark.parametrize("batches", [iter(()), [0] * 4, [0] * 1000], ids=["no length", "fewer", "more"])
def test_the_epoch_is_never_outside_its_pass(run, tmp_path, plotted, batches):
    """Where the length is not known, or is another now than it was, a point stays in the pass that the run says."""
    run.batches = batches

    def metrics(i):
        run.epoch = i // 7
        return _metrics(i)

    run.go(LossCurves(tmp_path / "x.png", every=1, against="epoch"), 30, metrics)
    epochs = [epoch for epoch, _ in plotted[0][0]["generator loss"]]
    assert epochs == sorted(epochs)
    assert all(i // 7 <= epoch <= i // 7 + 1 for i, epoch in enumerate(epochs, 1))


def test_a_state_of_an_older_ganlib_is_loaded(run, tmp_path, plotted):
    """Points without sums or epochs go on: means since the resume, and epochs spread evenly over those so far."""
    curves = LossCurves(tmp_path / "x.png", every=2, mean=True, against="epoch")
    curves.load_state_dict({"every": 2, "points": [[2, {"loss": 1.0}], [4, {"loss": 2.0}]]})
    run.iteration, run.epoch, run.batches = 5, 1, [0] * 4
    run.go(curves, 6, lambda i: {"loss": torch.tensor(8.0)})
    assert plotted[0][0]["loss"] == [[0.5, 1], [1, 2], [1.5, 8]]


def test_sums_of_another_run_are_forgotten(run, tmp_path):
    """The same curves, begun anew in the middle of an interval, count no iteration of the run before."""
    curves = LossCurves(tmp_path / "x.png", every=4, mean=True)
    run.go(curves, 3, _metrics)
    run.iteration = 0
    run.go(curves, 4, _metrics)
    assert curves.state_dict()["points"][0][1]["generator_loss"] == 5.0


def test_noting_waits_for_nothing(run, tmp_path, monkeypatch):
    """No value of a mean is brought to the host before the points are saved or plotted."""
    curves = LossCurves(tmp_path / "x.png", every=2, mean=True)
    with monkeypatch.context() as patch:
        for name in ("tolist", "item", "__float__", "__bool__", "__int__", "cpu", "numpy"):
            patch.setattr(Tensor, name, lambda *_: pytest.fail("a wait"))
        for run.iteration in range(1, 8):
            run.metrics = {"loss": torch.ones(())}
            curves.on_iteration(run)
    assert curves.state_dict()["points"] == [[2, {"loss": 1.0}], [4, {"loss": 1.0}], [6, {"loss": 1.0}]]


@pytest.mark.parametrize(
    "forged",
    [{"sums": {"loss": [1.0, 0]}}, {"sums": {"loss": ["1", 1]}}, {"summed_to": 1.5}, {"summed_to": torch.ones(2)}],
)
def test_sums_that_are_none_are_refused(forged):
    """A state whose sums could not have been saved is an error of ours."""
    with pytest.raises(CheckpointError, match="sums"):
        LossCurves("x.png", mean=True).load_state_dict({"every": 1, "points": []} | forged)


class _Sevenths(Going):
    """Gives i / 7 at iteration i, and another metric at every third alone."""

    def __init__(self):
        super().__init__(lambda i: i / 7)

    def train_step(self, batches):
        """Step."""
        metrics = super().train_step(batches)
        return metrics | ({"lazy": torch.tensor(1.0 * self.iteration)} if self.iteration % 3 == 0 else {})


def _train(folder, lasts, every, max_points, against):
    """Train to each of the iterations, with fresh objects; the picture's bytes."""
    for last in lasts:
        curves = LossCurves(folder / "x.png", every=every, max_points=max_points, mean=True, against=against)
        callbacks = [curves, training.Checkpoint(folder, every=2)]
        training.fit(_Sevenths(), [points()] * 2, iterations=last, resume=True, callbacks=callbacks)
    return curves.path.read_bytes()


@pytest.mark.parametrize(("every", "max_points", "against"), [(4, 50, "iteration"), (1, 3, "epoch")])
def test_means_of_a_run_that_was_stopped(tmp_path, every, max_points, against):
    """Stopped after any iteration and resumed with fresh objects, a run leaves the same picture, byte for byte."""
    whole = _train(tmp_path / "whole", [9], every, max_points, against)
    for stops in (*([stop] for stop in range(1, 8)), [1, 2, 3], [5, 5, 6, 7]):
        assert _train(tmp_path / str(stops), [*stops, 9], every, max_points, against) == whole


def test_sums_go_back_with_a_rollback(tmp_path, plotted):
    """Where a training goes back into the middle of an interval, no iteration counts twice."""
    callbacks = [LossCurves(tmp_path / "x.png", every=4, mean=True), training.Checkpoint(tmp_path, every=6)]
    with pytest.warns(UserWarning, match="goes back to iteration 6"):
        training.fit(Tripping(7), [points()], iterations=8, callbacks=callbacks, rollbacks=1)
    assert plotted[0][0]["total"] == [[4, 2.5], [8, 6.5]]


def test_a_single_point_can_be_seen(run, tmp_path, monkeypatch):
    """A curve of one point has a marker, since a line through it has no length; longer ones have none."""
    markers = []
    save = Figure.savefig

    def look(figure, path, **options):
        markers.append({line.get_marker() for axes in figure.axes for line in axes.lines})
        save(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", look)
    curves = LossCurves(tmp_path / "losses.png", every=1)
    for iterations in (1, 2):
        run.go(curves, iterations, _metrics)
    assert markers == [{"."}, {"None"}]
