"""Tests of metrics as curves."""

import math
from types import SimpleNamespace

import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ganlib import training
from ganlib.errors import GanlibError
from ganlib.viz import LossCurves
from tests.training.players import Going, points

TABLE = """iteration,epoch,discriminator_loss,generator_loss,real_score,r1
2,0,0.5,4.0,0.75,
4,1,0.25,8.0,0.75,3.0
5,1,0.125,nan,0.5,
6,2,0.5,10.0,0.75,6.0
"""


@pytest.fixture
def plotted(monkeypatch):
    """What the figures that are saved have in them: for each axes its curves, by label, as lists of points."""
    seen = []

    def look(figure, path, **options):
        curves = [{line.get_label(): line.get_xydata().tolist() for line in axes.lines} for axes in figure.axes]
        seen.append(curves)
        save(figure, path, **options)

    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", look)
    return seen


def _end(run, curves, table=TABLE):
    """Call the curves at the end of a run that has written a table; in the table's own line ends."""
    curves.table.parent.mkdir(parents=True, exist_ok=True)
    curves.table.write_bytes(table.replace("\n", "\r\n").encode())
    run.metrics = {"loss": torch.zeros(())}
    curves.on_end(run)


def test_the_curves_are_those_of_the_table(run, tmp_path, plotted):
    """Losses above and scores below, with the values of the rows; an empty cell is not a point."""
    _end(run, LossCurves(tmp_path / "losses.png"))
    losses, scores = plotted[0]
    assert losses == {
        "discriminator loss": [[2, 0.5], [4, 0.25], [5, 0.125], [6, 0.5]],
        "generator loss": [[2, 4], [4, 8], [5, pytest.approx(float("nan"), nan_ok=True)], [6, 10]],
        "r1": [[4, 3], [6, 6]],
    }
    assert scores == {"real score": [[2, 0.75], [4, 0.75], [5, 0.5], [6, 0.75]]}


LOGGED = """iteration,epoch,loss,real_score,inception_score,kernel_distance,kernel_distance_std,precision,recall
2,0,0.5,0.75,,,,,
3,0,1.5,0.25,8.0,0.04,0.01,0.5,0.125
4,1,2.5,0.25,9.0,0.02,,0.75,0.25
"""


def test_what_was_logged_has_axes_of_its_own(run, tmp_path, plotted, monkeypatch):
    """Below the others, which do not change; metrics of one scale share them; each value is a marker."""
    errors = []
    monkeypatch.setattr(Axes, "errorbar", lambda axes, x, y, size, **_: errors.append((x, y, size)))
    run.logged = dict.fromkeys(LOGGED.splitlines()[0].split(",")[4:])
    _end(run, LossCurves(tmp_path / "losses.png"), LOGGED)
    assert plotted[0] == [
        {"loss": [[2, 0.5], [3, 1.5], [4, 2.5]]},
        {"real score": [[2, 0.75], [3, 0.25], [4, 0.25]]},
        {"inception score": [[3, 8], [4, 9]]},
        {"kernel distance": [[3, 0.04], [4, 0.02]]},
        {"precision": [[3, 0.5], [4, 0.75]], "recall": [[3, 0.125], [4, 0.25]]},
    ]
    ((x, y, size),) = errors
    assert (x, y, size[0]) == ((3, 4), (0.04, 0.02), 0.01)
    assert math.isnan(size[1])
    with Image.open(tmp_path / "losses.png") as image:
        assert image.size == (800, 1050)


def test_what_was_logged_need_not_be_finite(run, tmp_path, plotted):
    """A metric that was never finite is drawn too, and a negative deviation is not an error."""
    run.logged = {"a": None, "a_std": None, "b": None, "c_std": None}
    table = "iteration,epoch,loss,a,a_std,b,c_std\n1,0,1.0,nan,nan,inf,-1.0\n2,0,1.0,0.5,-0.1,-inf,2.0\n"
    _end(run, LossCurves(tmp_path / "losses.png"), table)
    assert [[*curves] for curves in plotted[0]] == [["loss"], [], ["a", "b", "c std"]]


def test_the_table_may_be_anywhere(run, tmp_path, plotted):
    """By default it is metrics.csv in the folder of the image."""
    assert LossCurves(tmp_path / "losses.png").table == tmp_path / "metrics.csv"
    _end(run, LossCurves(tmp_path / "losses.png", tmp_path / "tables" / "m.csv"))
    assert plotted[0][0]["r1"] == [[4, 3], [6, 6]]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_suffix_is_the_format(run, tmp_path, suffix):
    """The file begins as a file of its format does, and lies alone in its folder, which was made."""
    curves = LossCurves(tmp_path / "run" / f"losses.{suffix}", tmp_path / "m.csv")
    run.callbacks = (SimpleNamespace(path=curves.table), curves)
    curves.on_start(run)
    _end(run, curves)
    (path,) = (tmp_path / "run").iterdir()
    assert path.name == f"losses.{suffix}"
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])


@pytest.mark.parametrize("table", ["", "iteration,epoch\n", None])
def test_without_rows_the_image_is_empty(run, tmp_path, table):
    """A table without a row, or none at all, is not an error."""
    curves = LossCurves(tmp_path / "losses.png")
    if table is None:
        curves.on_end(run)
    else:
        _end(run, curves, table)
    with Image.open(tmp_path / "losses.png") as image:
        assert image.size == (800, 600)


def test_a_run_that_trains_nothing_keeps_its_image(run, tmp_path):
    """Without metrics an image that is there stays as it is."""
    (tmp_path / "losses.png").write_text("old")
    LossCurves(tmp_path / "losses.png").on_end(run)
    assert (tmp_path / "losses.png").read_text() == "old"


def test_a_file_that_is_not_a_table_is_named(run, tmp_path):
    """It is warned of, so that the checkpoint after it is still written, and the image that is there stays."""
    (tmp_path / "losses.png").write_text("old")
    with pytest.warns(UserWarning, match=r"metrics\.csv is not a table"):
        _end(run, LossCurves(tmp_path / "losses.png"), "a,b\n1,2\n")
    assert (tmp_path / "losses.png").read_text() == "old"


@pytest.mark.parametrize("kind", ["none", "another table", "after it", "a path that is not one"])
def test_a_table_that_nobody_writes_is_warned_of(run, tmp_path, kind):
    """At the start, if the logger is missing, writes elsewhere, or comes after the curves."""
    curves = LossCurves(tmp_path / "losses.png")
    right, wrong = SimpleNamespace(path=curves.table), SimpleNamespace(path=tmp_path / "x.csv")
    others = {"none": [], "another table": [wrong], "after it": [], "a path that is not one": [SimpleNamespace(path=3)]}
    run.callbacks = (*others[kind], curves, *([right] if kind == "after it" else []))
    with pytest.warns(UserWarning, match=rf"no callback before LossCurves writes {curves.table}.*CSVLogger\('"):
        curves.on_start(run)


def test_a_table_that_is_written_is_not_warned_of(run, tmp_path, monkeypatch):
    """Also if the two paths are written differently, and as strings."""
    monkeypatch.chdir(tmp_path)
    curves = LossCurves(tmp_path / "run" / "losses.png")
    for path in ("run/metrics.csv", str(curves.table), curves.table):
        run.callbacks = (object(), SimpleNamespace(path=path), curves)
        curves.on_start(run)


def test_a_folder_that_cannot_be_made_is_refused_at_the_start(run, tmp_path):
    """Before anything is trained, an OSError of ours names the folder."""
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="run cannot be written to") as caught:
        LossCurves(tmp_path / "run" / "losses.png").on_start(run)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"against": "epochs"}, r"against \(='epochs'\) must be 'iteration' or 'epoch'"),
        ({"path": "losses.gnp"}, r"path \(=losses.gnp\).*png"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    """Each bad argument, a suffix of an unknown format among them, is a ValueError of ours before the run starts."""
    with pytest.raises(ValueError, match=message) as caught:
        LossCurves(**{"path": "losses.png"} | arguments)
    assert isinstance(caught.value, GanlibError)


def test_against_the_epoch(run, tmp_path, plotted):
    """With two of five batches per iteration, the points are at 2/5 of the iteration."""
    run.batches, run.trainer = [0] * 5, SimpleNamespace(batches_per_iteration=2)
    table = "iteration,epoch,loss\n3,1,3.0\n6,2,6.0\n7,2,7.0\n"
    _end(run, LossCurves(tmp_path / "x.png", against="epoch"), table)
    assert plotted[0][0]["loss"] == [[6 / 5, 3], [12 / 5, 6], [14 / 5, 7]]


@pytest.mark.parametrize("against", ["iteration", "epoch"])
def test_the_axis_says_what_it_is(run, tmp_path, monkeypatch, against):
    """The option is the label below the lowest plot."""
    labels = []
    look = lambda figure, *_, **__: labels.append([axes.get_xlabel() for axes in figure.axes])  # noqa: E731
    monkeypatch.setattr(Figure, "savefig", look)
    _end(run, LossCurves(tmp_path / "x.png", against=against))
    run.logged = {"r1": None}
    _end(run, LossCurves(tmp_path / "x.png", against=against))
    assert labels == [["", against], ["", "", against]]


@pytest.mark.parametrize("batches", [iter(()), [], [0] * 4, [0] * 1000], ids=["no length", "none", "fewer", "more"])
def test_a_point_is_never_outside_its_epoch(run, tmp_path, plotted, batches):
    """If the length is not known, or is not what it was, a point stays in the epoch of its row."""
    run.batches = batches
    table = "iteration,epoch,loss\n" + "".join(f"{i},{i // 7},1.0\n" for i in range(1, 31))
    _end(run, LossCurves(tmp_path / "x.png", against="epoch"), table)
    epochs = [epoch for epoch, _ in plotted[0][0]["loss"]]
    assert epochs == sorted(epochs)
    assert all(i // 7 <= epoch <= i // 7 + 1 for i, epoch in enumerate(epochs, 1))


def test_a_single_point_can_be_seen(run, tmp_path, monkeypatch):
    """A curve of one point has a marker, since a line of one point is invisible; longer ones have none."""
    markers = []
    save = Figure.savefig

    def look(figure, path, **options):
        markers.append({line.get_marker() for axes in figure.axes for line in axes.lines})
        save(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", look)
    for rows in ("1,0,2.0\n", "1,0,2.0\n2,0,3.0\n"):
        _end(run, LossCurves(tmp_path / "losses.png"), f"iteration,epoch,loss\n{rows}")
    assert markers == [{"."}, {"None"}]


class _Sevenths(Going):
    """Gives i / 7 at iteration i, and another metric at every third alone."""

    def __init__(self):
        super().__init__(lambda i: i / 7)

    def train_step(self, batches):
        """Step."""
        metrics = super().train_step(batches)
        return metrics | ({"lazy": torch.tensor(1.0 * self.iteration)} if self.iteration % 3 == 0 else {})


def _train(folder, lasts, every, mean, against):
    """Train to each of the iterations, with new objects; the bytes of the image."""
    for last in lasts:
        curves = LossCurves(folder / "x.png", against=against)
        table = training.CSVLogger(curves.table, every=every, mean=mean)
        callbacks = [table, curves, training.Checkpoint(folder, every=2)]
        training.fit(_Sevenths(), [points()] * 2, iterations=last, resume=True, callbacks=callbacks)
    return curves.path.read_bytes()


@pytest.mark.parametrize(("every", "mean", "against"), [(4, True, "iteration"), (2, False, "epoch")])
def test_the_image_of_a_run_that_was_stopped(tmp_path, every, mean, against):
    """Stopped after any iteration and resumed with new objects, a run leaves the same image, byte for byte."""
    whole = _train(tmp_path / "whole", [9], every, mean, against)
    for stops in ([3], [5, 5, 6, 7], [1, 2, 3]):
        assert _train(tmp_path / str(stops), [*stops, 9], every, mean, against) == whole


def test_a_run_shows_what_it_has_logged(tmp_path, plotted):
    """Of a run that was resumed, also what was logged before; with the logger in front of who logs."""
    for last in (3, 5):
        log = SimpleNamespace(on_iteration=lambda run: run.log({"fid": 2.0}) if run.iteration == 2 else None)
        table, curves = training.CSVLogger(tmp_path / "metrics.csv", every=3), LossCurves(tmp_path / "x.png")
        callbacks = [table, curves, log, training.Checkpoint(tmp_path)]
        training.fit(Going(float), [points()], iterations=last, resume=True, callbacks=callbacks)
    assert plotted[-1][2:] == [{"fid": [[2, 2.0]]}]
    assert plotted[-1][0]["loss"] == [[2, 2], [3, 3], [5, 5]]


def test_a_run_shows_its_last_iteration(tmp_path, plotted):
    """A metric at the last iteration is a point, though no row was due; means are the table's."""
    callbacks = [training.CSVLogger(tmp_path / "metrics.csv", every=4, mean=True), LossCurves(tmp_path / "x.png")]
    training.fit(Going(float), [points()], iterations=6, callbacks=callbacks)
    assert plotted[-1][0]["loss"] == [[4, 2.5], [6, 5.5]]


VALUES = ["nan", "inf", "-inf", "0", "-1", "1e308", "-1e308", "5e-324", "1e199", ""]


@pytest.mark.parametrize("logged", [(), ("loss", "fid")], ids=["given", "logged"])
@pytest.mark.parametrize(("one", "other"), [*zip(VALUES, VALUES[-1:] + VALUES[:-1], strict=True)])
def test_any_values_are_drawn(run, tmp_path, one, other, logged):
    """NaN, infinite, huge, tiny or missing ones, of the trainer's metrics and of logged ones: an image, no warning."""
    table = f"iteration,epoch,loss,fid,real_score\n1,0,{one},{other},{one}\n2,0,{one},{one},{other}\n"
    run.logged = dict.fromkeys(logged)
    _end(run, LossCurves(tmp_path / "x.png"), table)
    assert (tmp_path / "x.png").exists()


def test_values_that_a_logarithm_would_hide_are_seen(run, tmp_path, monkeypatch):
    """A metric of negative values next to one of positive ones has an axis that is not logarithmic."""
    scales = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: scales.append(figure.axes[-1].get_yscale()))
    run.logged = {"a": None, "b": None}
    for b in (-50, 0, 50):
        table = f"iteration,epoch,a,b\n1,0,1,{b}\n2,0,100,100\n"
        _end(run, LossCurves(tmp_path / "x.png"), table)
    assert scales == ["linear", "linear", "log"]


@pytest.mark.parametrize("name", ["$a_$", "$", "cost_in_$_and_$", "x" * 500, "\u2603", "_hidden"])
def test_any_name_is_drawn(run, tmp_path, name):
    """Dollars are not read as mathematics, and a long name leaves space for its curve."""
    _end(run, LossCurves(tmp_path / "x.png"), f"iteration,epoch,{name}\n1,0,1\n2,0,2\n")
    assert (tmp_path / "x.png").exists()


def test_what_cannot_be_drawn_is_warned_of(run, tmp_path, monkeypatch):
    """An error of matplotlib at the end does not cost the checkpoint that comes after."""
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.warns(UserWarning, match="LossCurves draws nothing: ZeroDivisionError"):
        _end(run, LossCurves(tmp_path / "x.png"))


def test_a_format_that_needs_more_is_refused_at_the_start(run, tmp_path, monkeypatch):
    """Where matplotlib cannot write it, for want of another program, say."""
    curves = LossCurves(tmp_path / "x.pgf")
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(GanlibError, match=r"path \(=.*x.pgf\) has a format that cannot be written here"):
        curves.on_start(run)
