"""The real side in a file: as pytorch-fid has it, counted once, and read without running code."""

import os
import warnings

import numpy as np
import pytest
import torch

from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, CheckpointError, GanlibError, RunFolderError
from ganlib.metrics import FrechetDistance
from tests.metrics.cases import CASES, TWO_SIDED, assert_equal, made, normal, same, two_sided

ARRAYS = {
    "frechet_distance": {"mu", "sigma", "count"},
    "kernel_distance": {"features"},
    "precision_recall": {"features"},
    "memorization": {"features", "training"},
    "mode_coverage": {"modes", "classes", "stacked"},
}


def _sides(n=40, m=33, dim=3):
    return normal(n, dim), normal(m, dim, seed=1) * 1.5 + 0.3


def _saved(name, path, real):
    """Save a real side."""
    made(CASES[name], real, real[:5]).save_statistics(path)
    return path


@pytest.mark.parametrize("name", TWO_SIDED)
@pytest.mark.parametrize("fakes_first", [True, False])
def test_loaded_statistics_are_the_real_side(name, fakes_first, tmp_path):
    """They give the value that the samples themselves give, replace what was there, and are kept over a reset."""
    case, (real, fake) = CASES[name], _sides()
    path = _saved(name, tmp_path / "real.npz", real)
    metric = made(case, 5 * real, 5 * real)
    metric.reset()
    if fakes_first:
        case.feed(metric, fake, real=False)
    metric.load_statistics(path)
    if not fakes_first:
        case.feed(metric, fake, real=False)
    assert metric.has_real
    assert_equal(metric.compute(), case.expected(real, fake))
    metric.reset()
    case.feed(metric, 2 * fake, real=False)
    assert_equal(metric.compute(), case.expected(real, 2 * fake))
    metric.save_statistics(tmp_path / "again.npz")
    other = case.make(same)
    case.feed(other, fake, real=False)
    other.load_statistics(tmp_path / "again.npz")
    assert_equal(other.compute(), case.expected(real, fake))


@pytest.mark.parametrize("name", TWO_SIDED)
def test_real_samples_add_to_loaded_statistics(name, tmp_path):
    """Loaded ones and further samples are as all samples at once."""
    case, (real, fake) = CASES[name], _sides()
    path = _saved(name, tmp_path / "real.npz", real[:15])
    metric = case.make(same)
    metric.load_statistics(path)
    for side in (real[15:], fake):
        case.feed(metric, side, real=side is not fake)
    assert_equal(metric.compute(), case.expected(real, fake))
    assert_equal(metric.compute(), case.expected(real, fake))


@pytest.mark.parametrize("name", TWO_SIDED)
def test_numpy_reads_them(name, tmp_path):
    """The file is an archive of plain arrays, whatever its name."""
    real, _ = _sides()
    with np.load(_saved(name, tmp_path / "real.stats", real)) as file:
        assert set(file.files) == ARRAYS[name]
        arrays = dict(file)
    if name == "frechet_distance":
        np.testing.assert_allclose(arrays["mu"], real.double().mean(0), rtol=1e-12)
        np.testing.assert_allclose(arrays["sigma"], np.cov(real.double().numpy(), rowvar=False), rtol=1e-12)
        assert arrays["count"] == 40
        assert arrays["count"].dtype == np.int64
    elif name == "mode_coverage":
        np.testing.assert_array_equal(arrays["modes"], real.argmax(1, keepdim=True))
        assert (arrays["classes"], arrays["stacked"]) == (3, 1)
    else:
        np.testing.assert_array_equal(arrays["features"], real)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_file_of_pytorch_fid(dtype, tmp_path):
    """Only ``mu`` and ``sigma``, not quite symmetric in float32: the formula; more real samples are refused."""
    case, (real, fake) = CASES["frechet_distance"], _sides()
    array, path = real.double().numpy(), tmp_path / "fid.npz"
    sigma = np.cov(array, rowvar=False).astype(dtype)
    sigma[0, 1] *= 1 + np.finfo(dtype).eps
    np.savez(path, mu=array.mean(0).astype(dtype), sigma=sigma)
    metric = case.make(same)
    metric.load_statistics(path)
    metric.update(fake, real=False)
    metric.update(real[:0], real=True)  # none
    assert_equal(metric.compute(), case.expected(real, fake), 1e-6 if dtype is np.float64 else 1e-5)
    with pytest.raises(ValueError, match=r"real \(=True\): the loaded statistics have no count.*reset") as caught:
        metric.update(real, real=True)
    assert isinstance(caught.value, GanlibError)
    metric.save_statistics(tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as file:
        assert set(file.files) == {"mu", "sigma"}
        np.testing.assert_array_equal(file["mu"], array.mean(0).astype(dtype))
    metric.reset(real=True)
    for side in (real, fake):
        metric.update(side, real=side is real)
    assert_equal(metric.compute(), case.expected(real, fake))


def loaded_on_both(name, path, mine):
    """Load on both ranks, or on the second alone; add real samples on both where they are mine; save again."""
    case, (real, fake) = CASES[name], _sides()
    metric = case.make(same)
    if mine != "second" or rank() == 1:
        metric.load_statistics(path)
    if mine == "real":
        case.feed(metric, real[15:20] if rank() == 0 else real[20:], real=True)
    case.feed(metric, fake[:30] if rank() == 0 else fake[30:], real=False)
    value = metric.compute()
    metric.save_statistics(f"{path}.again")
    other = case.make(same)
    other.load_statistics(f"{path}.again")  # which is there on both
    case.feed(other, fake[:1] if rank() == 0 else fake[1:], real=False)
    return value, other.compute()


@pytest.mark.parametrize("name", TWO_SIDED)
@pytest.mark.parametrize("mine", ["real", "nothing", "second"])
def test_two_ranks_count_them_once(name, mine, tmp_path, two_ranks):
    """Loaded on both ranks, or on one, they count once; real samples of both ranks add to them, and are saved too."""
    case, (real, fake) = CASES[name], _sides()
    path = _saved(name, tmp_path / "real.npz", real[:15])
    expected = case.expected(real if mine == "real" else real[:15], fake)
    for value, again in two_ranks(loaded_on_both, name, path, mine):
        assert_equal(value, expected)
        assert_equal(again, expected)


def saved(name, folder):
    """Save on each rank under a name of its own."""
    real, fake = _sides()
    made(CASES[name], real, fake).save_statistics(folder / f"{rank()}.npz")
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("name", TWO_SIDED)
def test_the_first_rank_saves(name, tmp_path, two_ranks):
    """Of two, rank 0 alone writes, and the file is there on both."""
    assert two_ranks(saved, name, tmp_path) == [["0.npz"]] * 2


def not_countable(path):
    """Rank 0 loads statistics without a count, and rank 1 has real samples."""
    metric = CASES["frechet_distance"].make(same)
    metric.load_statistics(path) if rank() == 0 else metric.update(_sides()[0], real=True)
    try:
        metric.compute()
    except ValueError as error:
        return str(error)


def test_two_ranks_do_not_add_to_statistics_without_a_count(tmp_path, two_ranks):
    """What one rank cannot do, two cannot either; both say so."""
    np.savez(tmp_path / "fid.npz", mu=np.zeros(3), sigma=np.eye(3))
    for message in two_ranks(not_countable, tmp_path / "fid.npz"):
        assert "no count" in message


def unwritable(path):
    """Save into what cannot be a folder."""
    real, fake = _sides()
    try:
        made(CASES["frechet_distance"], real, fake).save_statistics(path / "real.npz")
    except OSError as error:
        return type(error)


def test_a_file_that_cannot_be_written(tmp_path, two_ranks):
    """It is an OSError of ours, on all ranks."""
    (tmp_path / "file").touch()
    assert unwritable(tmp_path / "file") is RunFolderError
    assert two_ranks(unwritable, tmp_path / "file") == [RunFolderError] * 2


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@two_sided
def test_a_file_runs_no_code(case, tmp_path):
    """A file with pickled objects in place of arrays is refused, and nothing in it runs."""
    path, exploded = tmp_path / "hostile.npz", tmp_path / "exploded"
    bombs = {name: np.array([Bomb(exploded)], dtype=object) for names in ARRAYS.values() for name in names}
    np.savez(path, allow_pickle=True, **bombs)
    with pytest.raises(CheckpointError, match="hostile.npz"):
        case.make(same).load_statistics(path)
    assert not exploded.exists()
    with np.load(path, allow_pickle=True) as file:
        file["features"]
    assert exploded.exists()  # the code is live


def _whole(path):
    real, _ = _sides()
    _saved("frechet_distance", path, real)
    return path.read_bytes()


@two_sided
@pytest.mark.parametrize(
    "write",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"what is this"),
        lambda path: path.write_bytes(_whole(path)[:-30]),
        lambda path: path.write_bytes(_whole(path).replace(b"NUMPY", b"NUMBY")),
        lambda path: path.write_bytes(_whole(path)[:200] + b"\1" + _whole(path)[201:]),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
        lambda path: torch.save({"mu": torch.zeros(3)}, path),
        lambda path: np.savez(path, something=np.zeros(3)),
    ],
    ids=["missing", "folder", "empty", "text", "cut", "damaged", "flipped", "npy", "torch", "other arrays"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of this test's np.save
def test_other_files_are_refused(case, write, tmp_path):
    """What is no such file is an error that names it, and the metric stays as it was."""
    path, (real, fake) = tmp_path / "odd.npz", _sides()
    write(path)
    metric = made(case, real, fake)
    with pytest.raises(CheckpointError, match="odd.npz"):
        metric.load_statistics(path)
    assert_equal(metric.compute(), case.expected(real, fake))


NAN = np.full((3, 3), np.nan)


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("frechet_distance", {"mu": np.zeros(3)}),
        ("frechet_distance", {"mu": np.zeros(3), "sigma": np.eye(4)}),
        ("frechet_distance", {"mu": np.zeros((1, 3)), "sigma": np.eye(3)}),
        ("frechet_distance", {"mu": np.zeros(0), "sigma": np.zeros((0, 0))}),
        ("frechet_distance", {"mu": np.zeros(3), "sigma": NAN}),
        ("frechet_distance", {"mu": NAN[0], "sigma": np.eye(3)}),
        ("frechet_distance", {"mu": np.zeros(3), "sigma": np.arange(9.0).reshape(3, 3)}),
        ("frechet_distance", {"mu": np.zeros(3), "sigma": -np.tri(3)}),
        ("frechet_distance", {"mu": np.array(["a", "b", "c"]), "sigma": np.eye(3)}),
        ("frechet_distance", {"mu": np.zeros(3), "sigma": np.eye(3), "count": 1}),
        ("frechet_distance", {"mu": np.zeros(3), "sigma": np.eye(3), "count": 2.5}),
        ("frechet_distance", {"mu": np.zeros(3), "sigma": np.eye(3), "count": [5]}),
        ("frechet_distance", {"mu": np.zeros(3), "sigma": np.eye(3), "count": np.uint64(2**63 + 5)}),
        ("kernel_distance", {"features": np.zeros(3)}),
        ("kernel_distance", {"features": np.zeros((0, 3))}),
        ("kernel_distance", {"features": np.zeros((3, 0))}),
        ("kernel_distance", {"features": NAN}),
        ("kernel_distance", {"features": np.ones((3, 3), dtype=int)}),
        ("kernel_distance", {"features": np.ones((3, 3), dtype=complex)}),
        ("memorization", {"features": np.ones((3, 3))}),
        ("memorization", {"features": np.ones((3, 3)), "training": np.ones((3, 4))}),
        ("mode_coverage", {"modes": np.ones((3, 1))}),
        ("mode_coverage", {"modes": np.ones((3, 2), dtype=int)}),
        ("mode_coverage", {"modes": np.array([[-1], [2]])}),
        ("mode_coverage", {"modes": np.ones((0, 1), dtype=int)}),
    ],
)
def test_other_arrays_are_refused(name, arrays, tmp_path):
    """Arrays of other shapes, dtypes and values are an error that names the file, and says what it holds."""
    np.savez(tmp_path / "odd.npz", **arrays)
    with warnings.catch_warnings(), pytest.raises(CheckpointError, match=f"odd.npz.*holds {next(iter(arrays))}"):
        CASES[name].make(same).load_statistics(tmp_path / "odd.npz")


@pytest.mark.parametrize("name", [name for name in TWO_SIDED if name != "mode_coverage"])
def test_another_number_of_features_is_refused(name, tmp_path):
    """Statistics of 4 features do not go with samples of 3, in either order; both numbers are named."""
    case, (_, fake) = CASES[name], _sides()
    path = _saved(name, tmp_path / "real.npz", normal(9, 4))
    metric = case.make(same)
    case.feed(metric, fake, real=False)
    with pytest.raises(ValueError, match=r"real.npz holds 4 features.* 3 ") as caught:
        metric.load_statistics(path)
    assert isinstance(caught.value, GanlibError)
    metric = case.make(same)
    metric.load_statistics(path)
    with pytest.raises(ValueError, match=r"gave \(33, 3\).* 4 ") as caught:
        case.feed(metric, fake, real=False)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("name", TWO_SIDED)
def test_there_must_be_something_to_save(name, tmp_path):
    """Without real samples there is an error of ours, and no file."""
    case, (_, fake) = CASES[name], _sides()
    metric = case.make(same)
    case.feed(metric, fake, real=False)
    with pytest.raises(ValueError, match="real samples") as caught:
        metric.save_statistics(tmp_path / "real.npz")
    assert isinstance(caught.value, GanlibError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arrays", [{"mu": np.zeros(3), "sigma": -np.eye(3)}, {"mu": 3j * np.ones(3), "sigma": np.eye(3)}]
)
def test_what_is_no_covariance_is_refused(arrays, tmp_path):
    """A negative variance or a complex mean would give a distance that looks good."""
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(CheckpointError, match="mu and sigma must be real|below 0"):
        FrechetDistance(lambda samples: samples).load_statistics(tmp_path / "x.npz")


@pytest.mark.parametrize("name", TWO_SIDED)
def test_any_byte_order_is_read(name, tmp_path):
    """Arrays that a machine of the other byte order has written give the same value."""
    case, (real, fake) = CASES[name], _sides()
    path = _saved(name, tmp_path / "real.npz", real)
    with np.load(path) as file:
        arrays = {key: file[key].astype(file[key].dtype.newbyteorder(">")) for key in file.files}
    np.savez(path, **arrays)
    metric = made(case, real, fake)
    expected = metric.compute()
    metric.load_statistics(path)
    assert_equal(metric.compute(), expected)


def test_what_is_no_path_is_refused():
    """Saving and loading name it."""
    for call in (FrechetDistance(torch.flatten).save_statistics, FrechetDistance(torch.flatten).load_statistics):
        with pytest.raises(ArgumentTypeError, match=r"path \(=None\) must be the path of a file"):
            call(None)
