"""What Windows lacks and forbids, taken away on this system: a training, its files and its lock work without it.

No test here has run on Windows. What torch, torchvision, matplotlib and tensorboard need there is theirs.
"""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlib import _files
from ganlib.data import RenderedDigits, only_class
from ganlib.errors import RunFolderError

# On Windows a folder cannot be opened, some characters are in no name, and a file that is open is neither replaced nor
# removed. Text files are not UTF-8 there unless they say so. The lock stands in for that of msvcrt.
LIKE_WINDOWS = """
import errno, fcntl, os, signal, sys, tempfile, types, warnings
from pathlib import Path
import matplotlib.figure, matplotlib.backends.backend_agg, PIL.PngImagePlugin, PIL.GifImagePlugin
import torch, torchvision, tqdm
import torch.utils.tensorboard

def locking(handle, mode, count, lock=fcntl.lockf, flags=fcntl.LOCK_EX | fcntl.LOCK_NB):
    assert mode == 2 and os.lseek(handle, 0, os.SEEK_CUR) > 1000
    lock(handle, flags, count)

sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGHUP", "SIGALRM", "SIGKILL"):
    delattr(signal, name)
for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "fork", "getuid", "geteuid", "sched_getaffinity", "uname"):
    delattr(os, name)
tempfile.TemporaryFile = tempfile.NamedTemporaryFile
warnings.filterwarnings("error", category=EncodingWarning, module="ganlib")
FOLDER = sys.argv[1]

def audit(event, arguments):
    if event not in ("open", "os.mkdir", "os.rename", "os.remove"):
        return
    paths = [str(path) for path in arguments[:2] if isinstance(path, (str, os.PathLike))]
    for path in (path for path in paths if path.startswith(FOLDER)):
        name = path.removeprefix(FOLDER)
        if set(name) & set('<>:"|?*') or name.endswith((".", " ")):
            raise OSError(errno.EINVAL, "a name that Windows does not take", path)
        if event == "open" and arguments[1] is None and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Windows opens no folder", path)
        if event in ("os.rename", "os.remove"):
            opened = [os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
            if any(os.path.exists(one) and os.path.realpath(one) == os.path.realpath(path) for one in opened):
                raise PermissionError(errno.EACCES, "Windows changes no open file", path)

sys.addaudithook(audit)
"""

TRAINING = """
from ganlib import data, latents, losses, models, stacks, training, viz

def train(iterations, resume):
    torch.manual_seed(0)
    plan = stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(8)])
    generator, discriminator = models.dcgan(plan, 4)
    adams = [torch.optim.Adam(network.parameters()) for network in (generator, discriminator)]
    trainer = training.AdversarialTrainer(
        generator, discriminator, *adams, loss=losses.NonSaturatingLoss(), latent=latents.Gaussian(4)
    )
    run = Path(FOLDER) / "run"
    ema = training.EMA(generator)
    grid = viz.SampleGrid(ema, run / "samples", latent=torch.randn(4, 4), every=1)

    class Named:
        def on_iteration(self, run):
            run.log({"sch\\u00e4rfe": 1.0})

    loader = data.TensorLoader(torch.utils.data.TensorDataset(torch.randn(8, 1, 8, 8).tanh()), 4, seed=0)
    callbacks = [Named(), ema, grid, training.ProgressBar(), training.CSVLogger(run / "metrics.csv"),
        training.TensorBoardLogger(run / "events", every=1), viz.LossCurves(run / "losses.png"),
        viz.TrainingGif(run / "training.gif", run / "samples"), training.Checkpoint(run, every=1, keep=2)]
    training.fit(trainer, loader, iterations=iterations, callbacks=callbacks, resume=resume)
    models.save_generator(run / "generator.safetensors", ema.module)
    models.save_generator(run / "generator.safetensors", models.load_generator(run / "generator.safetensors"))
    return ema.module.state_dict()

train(2, False)
resumed = train(4, True)
rows = (Path(FOLDER) / "run/metrics.csv").read_text(encoding="utf-8").splitlines()
assert "sch\\u00e4rfe" in rows[0] and len(rows) == 5, rows
"""

LOCK = """
from ganlib import _files
from ganlib.errors import RunFolderError
lock = _files.FolderLock(Path(FOLDER))
try:
    lock.acquire()
except RunFolderError as error:
    print(error)
else:
    input()
    lock.release()
"""


def like_windows(script: str, folder: Path) -> list[Any]:
    """The command line and the keywords of a process without what Windows lacks."""
    own = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONIOENCODING": "cp1252", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-X", "warn_default_encoding", "-c", LIKE_WINDOWS + script, str(folder)]
    return [
        command,
        {"env": {**os.environ, **own}, "encoding": "cp1252", "stderr": subprocess.PIPE, "stdout": subprocess.PIPE},
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for open files")
def test_a_training_writes_its_files_and_resumes(tmp_path: Path) -> None:
    """Checkpoints, images, curves, a GIF, tables, events and the generator: no name, mode or encoding is a problem."""
    command, words = like_windows(TRAINING, tmp_path)
    done = subprocess.run(command, check=False, timeout=300, **words)

    assert done.returncode == 0, done.stderr
    assert "lock" not in done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("checkpoints", "events", "generator.safetensors", "losses.png", "metrics.csv", "samples", "training.gif")
    }


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for open files")
def test_a_second_run_is_refused(tmp_path: Path) -> None:
    """By the lock of msvcrt; the error names the first run. Afterwards the folder is free, and empty."""
    command, words = like_windows(LOCK, tmp_path)
    first = subprocess.Popen(command, stdin=subprocess.PIPE, **words)
    while first.poll() is None and not ((tmp_path / ".lock").exists() and (tmp_path / ".lock").read_bytes()):
        pass
    second = subprocess.run(command, check=False, timeout=120, input="\n", **words)
    _, errors = first.communicate("\n", timeout=120)

    assert f"is in use by process {first.pid}" in second.stdout, second.stderr
    assert first.returncode == 0, errors
    assert not [*tmp_path.iterdir()]


def test_where_there_are_no_locks_it_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning names what is not guarded."""
    monkeypatch.setattr(_files, "fcntl", None)
    monkeypatch.setattr(_files, "msvcrt", None)
    lock = _files.FolderLock(tmp_path)

    with pytest.warns(UserWarning, match="a second run would not be noticed"):
        lock.acquire()
    lock.release()
    assert not [*tmp_path.iterdir()]


def test_a_file_that_a_virus_scanner_reads_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to for a moment; if it goes on refusing, the error says so, and the old file stays."""
    path, replace, refusals = tmp_path / "a.csv", os.replace, 2

    def refused(*paths: Any) -> None:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise PermissionError("it is open")
        replace(*paths)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(_files, "fcntl", None)
    monkeypatch.setattr(_files.time, "sleep", lambda _: None)
    _files.write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"

    refusals = 1000
    with pytest.raises(RunFolderError, match="it is open"):
        _files.write_atomically(path, lambda file: file.write(b"newer"))
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("dataset", [RenderedDigits(8, length=4), only_class(RenderedDigits(8, length=20), "3")])
def test_data_sets_reach_the_workers_of_a_loader(dataset: Any) -> None:
    """Windows starts new processes, and so pickles the data set."""
    again = pickle.loads(pickle.dumps(dataset))

    assert len(again) == len(dataset)
    assert np.array_equal(again[1][0], dataset[1][0])
