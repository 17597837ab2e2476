"""Tests of generators on the Hugging Face Hub, without a network."""

import inspect
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from torch import nn

from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    CheckpointError,
    GanlibRuntimeError,
    MissingExtraError,
    RunFolderError,
)
from ganlib.models import from_hub, load_generator, mlp_gan, push_to_hub, save_discriminator, save_generator
from tests.models.cases import Counted, assert_same_state

huggingface_hub = pytest.importorskip("huggingface_hub")

FILES = {"README.md", "generator.safetensors", "samples.png"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BAD_NAMES = ["", "a/b/c", "me/", "-x", "me/a--b", "me/a.git", "me/a b", "https://huggingface.co/me/digits"]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Whoever opens a socket fails."""
    monkeypatch.setattr(socket, "socket", None)


@pytest.fixture
def generator():
    """A small generator."""
    return mlp_gan((1, 4, 5), 6, (8,))[0]


@pytest.fixture(scope="module")
def specified():
    """HfApi's methods and arguments, without what they do."""
    return mock.create_autospec(huggingface_hub.HfApi)


@pytest.fixture
def api(tmp_path, monkeypatch, specified):
    """A stand-in for HfApi, whose repository is a folder."""
    specified.reset_mock(return_value=False, side_effect=True)
    api = specified.return_value
    api.there = tmp_path / "hub"
    api.there.mkdir()
    api.create_repo.side_effect = lambda repo_id, **_: SimpleNamespace(repo_id=f"me/{repo_id.rpartition('/')[2]}")
    api.file_exists.side_effect = lambda repo_id, filename, **_: (api.there / filename).exists()

    def download(repo_id, filename, *, local_dir, **_):
        return shutil.copy(api.there / filename, Path(local_dir).mkdir(parents=True) or local_dir)

    def upload(*, folder_path, create_pr, delete_patterns, **_):
        api.uploaded = {path.name for path in Path(folder_path).iterdir()}
        for pattern in delete_patterns or ():
            (api.there / pattern).unlink(missing_ok=True)
        shutil.copytree(folder_path, api.there, dirs_exist_ok=True)
        return SimpleNamespace(commit_url="commit/1", pr_url="discussions/1" if create_pr else None)

    api.hf_hub_download.side_effect = download
    api.upload_folder.side_effect = upload
    monkeypatch.setattr(huggingface_hub, "HfApi", specified)
    return api


@pytest.fixture
def cached(tmp_path):
    """A cache of huggingface_hub with the repository me/digits, whose revisions main and v1 hold two generators."""
    repository = tmp_path / "cache" / "models--me--digits"
    (repository / "refs").mkdir(parents=True)
    for seed, (revision, commit) in enumerate({"main": COMMIT, "v1": COMMIT[::-1]}.items()):
        torch.manual_seed(seed)
        path = repository / "snapshots" / commit / "generator.safetensors"
        save_generator(path, mlp_gan((1, 4, 5), 6, (8,))[0], info={"revision": revision})
        (repository / "refs" / revision).write_text(commit)
    return repository.parent


def _raised(name: str, *causes: type[Exception], **attributes: object) -> Exception:
    """An error of huggingface_hub; versions have different constructors."""
    cls = getattr(huggingface_hub.errors, name)
    error = cls.__new__(cls)
    Exception.__init__(error, "what the Hub says\nand more")
    vars(error).update(attributes)
    return error


def test_what_is_pushed_comes_back(api, generator):
    """One repository and one commit with three files, from which the same generator is loaded, with its info."""
    assert push_to_hub(generator, "me/digits", info={"seed": 3}) == "commit/1"
    api.create_repo.assert_called_once_with("me/digits", exist_ok=True)
    api.create_branch.assert_not_called()
    api.upload_folder.assert_called_once()
    assert api.uploaded == FILES
    loaded = from_hub(api.there)
    assert_same_state(loaded.state_dict(), generator.state_dict())
    assert loaded.info == {"seed": 3}


def test_options_are_passed_on(api, specified, generator):
    """What huggingface_hub knows under the same name is given to it."""
    options = {"revision": "v2", "commit_message": "Better"}
    push_to_hub(generator, "digits", private=True, token="hf_x", **options)
    assert specified.call_args.kwargs["token"] == "hf_x"
    api.create_repo.assert_called_once_with("digits", exist_ok=True, private=True)
    api.create_branch.assert_called_once_with("me/digits", branch="v2", exist_ok=True)
    uploaded = api.upload_folder.call_args.kwargs
    assert uploaded.items() >= {**options, "repo_id": "me/digits"}.items()
    assert '"me/digits"' in (api.there / "README.md").read_text("utf-8")  # the full name, where a part was given


def test_a_pull_request(api, generator):
    """Its address is returned, and no branch is made."""
    assert push_to_hub(generator, "other/digits", create_pr=True) == "discussions/1"
    api.create_branch.assert_not_called()
    api.reset_mock()
    with pytest.raises(ArgumentValueError, match=r"revision \(='v2'\) must be None"):
        push_to_hub(generator, "other/digits", create_pr=True, revision="v2")
    assert not api.mock_calls


def test_a_users_card_is_kept(api, generator, tmp_path):
    """A card of ganlib's is replaced by the next one, until somebody edits it; on the Hub as in a folder."""
    folder = tmp_path / "folder"
    for there, options in ((api.there, {}), (folder, {"preview": folder})):
        card = there / "README.md"
        push_to_hub(generator, "me/digits", info={"iterations": 1000}, **options)
        push_to_hub(generator, "me/digits", info={"iterations": 2000}, **options)
        assert "| iterations | 2000 |" in card.read_text("utf-8")
        card.write_text(card.read_text("utf-8").replace("# digits", "# My digits"), "utf-8")
        push_to_hub(generator, "me/digits", info={"iterations": 3000}, **options)
        assert "| iterations | 2000 |" in card.read_text("utf-8")
        assert from_hub(there).info == {"iterations": 3000}
    assert api.uploaded == FILES - {"README.md"}


def test_an_old_image_is_removed(api, generator, tmp_path):
    """Where the new generator has none; a card that still shows it gives a warning."""
    rows = mlp_gan((5,), 6, (8,))[0]
    for there, options in ((api.there, {}), (tmp_path / "folder", {"preview": tmp_path / "folder"})):
        push_to_hub(generator, "me/digits", **options)
        push_to_hub(rows, "me/digits", **options)
        assert {path.name for path in there.iterdir()} == FILES - {"samples.png"}
        push_to_hub(generator, "me/digits", **options)
        (there / "README.md").write_text("# Mine\n![Samples](samples.png)", "utf-8")
        with pytest.warns(UserWarning, match=r"README\.md was edited .* samples\.png, which is removed") as caught:
            push_to_hub(rows, "me/digits", **options)
        assert caught[0].filename == __file__
        assert not (there / "samples.png").exists()


@pytest.mark.parametrize("name", ["", "mit\nfoo: bar", "Apache 2.0", "-mit"])
def test_a_license_that_the_hub_does_not_know(api, generator, name, tmp_path):
    """What is no name of a license is refused before anything is written or created."""
    for options in ({}, {"preview": tmp_path / "preview"}):
        with pytest.raises(ArgumentValueError, match=r"info\['license'\] \(='.*'\) must be the Hub's name"):
            push_to_hub(generator, "me/digits", info={"license": name}, **options)
    assert not api.mock_calls
    assert not (tmp_path / "preview").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("private", "x"), ("revision", 3), ("create_pr", "x"), ("commit_message", None), ("token", b"hf_secret")],
)
def test_options_of_wrong_types(generator, name, value, tmp_path):
    """Each is named, with a preview too; a token is not quoted."""
    with pytest.raises(ArgumentTypeError, match=rf"^{name} \(") as caught:
        push_to_hub(generator, "me/digits", preview=tmp_path / "preview", **{name: value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("filename", 3), ("filename", None), ("revision", 3), ("token", 3), ("cache_dir", 3), ("local_files_only", "x")],
)
@pytest.mark.parametrize("repo_id", ["me/digits", Path("digits")])
def test_options_of_wrong_types_of_a_download(repo_id, name, value):
    """Each is named, for a folder as for a repository."""
    with pytest.raises(ArgumentTypeError, match=rf"^{name} \("):
        from_hub(repo_id, **{name: value})


def test_a_folder_has_no_revisions(generator, tmp_path, monkeypatch):
    """To ask for one is an error, also where a repository has the name of the folder."""
    save_generator(tmp_path / "me" / "digits" / "generator.safetensors", generator)
    monkeypatch.chdir(tmp_path)
    for folder in ("me/digits", Path("me/digits")):
        with pytest.raises(ArgumentValueError, match=r"revision \(='v1'\) must be None for the folder 'me/digits'"):
            from_hub(folder, revision="v1")


@pytest.mark.parametrize("name", ["x" * 10_000, "x\n" * 600, "--" * 5000])
def test_a_long_name(generator, name):
    """The error stays short, on one line."""
    for call in (lambda: push_to_hub(generator, name), lambda: from_hub(name)):
        with pytest.raises(ArgumentValueError, match="repo_id") as caught:
            call()
        assert len(str(caught.value)) < 450
        assert "\n" not in str(caught.value)


def test_a_loaded_generator_keeps_its_info(api, generator, tmp_path):
    """Without info it is that of the generator; an empty one leaves it out."""
    save_generator(tmp_path / "file", generator, info={"seed": 3})
    loaded = load_generator(tmp_path / "file")
    push_to_hub(loaded, "me/digits")
    assert from_hub(api.there).info == {"seed": 3}
    push_to_hub(loaded, "me/digits", info={})
    assert from_hub(api.there).info == {}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name(api, generator, name, tmp_path):
    """What cannot be the name of a repository is quoted, before anything is written, created or looked for."""
    with pytest.raises(ArgumentValueError, match=r"repo_id \(='.*'\) must be the name of a repository"):
        push_to_hub(generator, name)
    with pytest.raises(ArgumentValueError, match=r"repo_id \(='.*'\) must be the name of a repository"):
        push_to_hub(generator, name, preview=tmp_path / "preview")
    with pytest.raises(ArgumentValueError, match=r"repo_id \(='.*'\) must be a folder"):
        from_hub(name)
    assert not api.mock_calls
    assert not (tmp_path / "preview").exists()


@pytest.mark.parametrize("name", [None, 3, b"me/digits", ["me", "digits"]])
def test_a_name_that_is_no_text(api, generator, name):
    """It is a TypeError."""
    with pytest.raises(ArgumentTypeError, match=r"repo_id \(="):
        push_to_hub(generator, name)
    with pytest.raises(ArgumentTypeError, match=r"repo_id \(="):
        from_hub(name)


@pytest.mark.parametrize(
    ("broken", "info", "error"),
    [
        ("generator", None, ArgumentTypeError),
        (nn.LazyLinear(3), None, ArgumentTypeError),
        (nn.Linear(2, 2, device="meta"), None, ArgumentTypeError),
        (nn.Linear(2, 2), {"model": nn.Linear(2, 2)}, ArgumentTypeError),
        (nn.Linear(2, 2), "info", ArgumentTypeError),
    ],
)
def test_what_cannot_be_saved_creates_nothing(api, broken, info, error):
    """The errors of save_generator come before a repository is created."""
    with pytest.raises(error, match="generator|info"):
        push_to_hub(broken, "me/digits", info=info)
    assert not api.mock_calls


REASONS = {
    "RepositoryNotFoundError": "there is no such repository, or it is private",
    "GatedRepoError": "its owner has to give you access",
    "RevisionNotFoundError": "the repository has no such revision",
    "EntryNotFoundError": "the repository has no such file",
    "LocalEntryNotFoundError": "the file was not downloaded before",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set",
    "BadRequestError": "BadRequestError: what the Hub says$",
}


@pytest.mark.parametrize("name", REASONS)
def test_the_hub_refuses(api, generator, monkeypatch, name):
    """Errors of huggingface_hub become ours: they name the repository, and say why in plain words."""
    api.create_repo.side_effect = _raised(name)
    with pytest.raises(GanlibRuntimeError, match=rf"repo_id \(='me/digits'\): nothing was pushed: {REASONS[name]}"):
        push_to_hub(generator, "me/digits")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", mock.Mock(side_effect=_raised(name)))
    with pytest.raises(
        CheckpointError, match=rf"\(='me/digits'\) .*, and a \(revision='v1'\) cannot .*: {REASONS[name]}"
    ):
        from_hub("me/digits", filename="a", revision="v1")


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "does not know who you are: log in"), (403, "may not do that"), (500, "what the Hub")]
)
def test_without_a_token(api, generator, status, reason):
    """A status of the Hub that says who may do what is explained."""
    api.upload_folder.side_effect = _raised("HfHubHTTPError", response=SimpleNamespace(status_code=status))
    with pytest.raises(GanlibRuntimeError, match=reason):
        push_to_hub(generator, "me/digits", token="hf_secret")


def test_without_a_network(generator, tmp_path, monkeypatch):
    """Of huggingface_hub itself: offline, both errors say so, and a token is in neither."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for error, call in (
        (GanlibRuntimeError, lambda: push_to_hub(generator, "me/digits", token="hf_secret")),
        (CheckpointError, lambda: from_hub("me/digits", cache_dir=tmp_path, token="hf_secret")),
    ):
        with pytest.raises(error, match="HF_HUB_OFFLINE is set in the environment") as caught:
            call()
        assert "secret" not in str(caught.value)


def test_from_the_cache(cached, tmp_path):
    """Of huggingface_hub itself: each revision gives its generator, and what is not there is an error."""
    options = {"cache_dir": cached, "local_files_only": True}
    one, other = from_hub("me/digits", **options), from_hub("me/digits", revision="v1", **options)
    assert (one.info, other.info) == ({"revision": "main"}, {"revision": "v1"})
    assert from_hub("me/digits", revision=COMMIT, **options).info == one.info
    for absent in ({"revision": "v2"}, {"filename": "model.safetensors"}, {"cache_dir": tmp_path / "empty"}):
        with pytest.raises(CheckpointError, match="the file was not downloaded before"):
            from_hub("me/digits", **options | absent)


def test_what_is_downloaded_is_loaded_as_from_a_file(cached):
    """The module, partial and train are those of load_generator, and so are its errors."""
    options = {"cache_dir": cached, "local_files_only": True}
    module, larger = mlp_gan((1, 4, 5), 6, (8,))[0], mlp_gan((1, 4, 6), 6, (8,))[0]
    assert from_hub("me/digits", module, train=True, **options) is module
    assert module.training
    assert_same_state(module.state_dict(), from_hub("me/digits", **options).state_dict())
    with pytest.raises(CheckpointError, match="another architecture"):
        from_hub("me/digits", larger, **options)
    with pytest.warns(UserWarning, match="was loaded in part"):
        from_hub("me/digits", larger, partial=True, **options)


def test_a_folder_comes_first(generator, tmp_path, monkeypatch):
    """A folder, such as that of a run, is read where it is there; it needs neither huggingface_hub nor a cache."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    save_generator(tmp_path / "me" / "digits" / "generator.safetensors", generator)
    monkeypatch.chdir(tmp_path)
    for folder in ("me/digits", Path("me/digits"), str(tmp_path / "me" / "digits")):
        assert_same_state(from_hub(folder).state_dict(), generator.state_dict())
    with pytest.raises(CheckpointError, match=r"other\.safetensors cannot be read: there is no such file"):
        from_hub("me/digits", filename="other.safetensors")
    with pytest.raises(CheckpointError, match="there is no such file"):
        from_hub(tmp_path / "absent")


def test_a_discriminator_is_not_taken_for_a_generator(tmp_path):
    """The file says what it holds."""
    save_discriminator(tmp_path / "generator.safetensors", mlp_gan((1, 4, 5), 6, (8,))[1])
    with pytest.raises(CheckpointError, match="holds a discriminator"):
        from_hub(tmp_path)


def test_a_generator_of_a_users_class(api):
    """It is pushed without a recipe, and loaded into a module."""
    generator = nn.Sequential(Counted(2, 3))
    push_to_hub(generator, "me/mine")
    with pytest.raises(ArgumentValueError, match=r"module \(=None\) is needed"):
        from_hub(api.there)
    assert torch.equal(from_hub(api.there, nn.Sequential(Counted(2, 3)))[0].weight, generator[0].weight)


def test_a_preview_needs_no_hub(api, generator, tmp_path):
    """The same files are written to a folder, which is returned, and the Hub is not asked."""
    push_to_hub(generator, "me/digits", info={"seed": 3})
    calls = len(api.mock_calls)
    assert push_to_hub(generator, "me/digits", info={"seed": 3}, preview=tmp_path / "a" / "b") == str(
        tmp_path / "a" / "b"
    )
    assert len(api.mock_calls) == calls
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == FILES
    for name in FILES - {"generator.safetensors"}:
        assert (tmp_path / "a" / "b" / name).read_bytes() == (api.there / name).read_bytes()


def test_a_preview_that_cannot_be_written(generator, tmp_path):
    """A file in its place is an error of ours; so is something else than a path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="file"):
        push_to_hub(generator, "me/digits", preview=tmp_path / "file")
    with pytest.raises(RunFolderError, match="null byte"):
        push_to_hub(generator, "me/digits", preview=str(tmp_path / "a\0b"))
    with pytest.raises(ArgumentTypeError, match=r"preview \(=3\)"):
        push_to_hub(generator, "me/digits", preview=3)


def test_without_huggingface_hub(generator, monkeypatch):
    """The error says what to install."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: push_to_hub(generator, "me/digits"), lambda: from_hub("me/digits")):
        with pytest.raises(MissingExtraError, match=r"huggingface_hub is not installed.* pip install .ganlib\[hub\]"):
            call()


def test_huggingface_hub_is_imported_when_it_is_needed():
    """Importing the models does not import it."""
    code = "import sys, ganlib.models; sys.exit('huggingface_hub' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=60).returncode == 0


def test_names_are_those_of_huggingface_hub():
    """Options have the names that they have in its PyTorchModelHubMixin, and in load_generator."""
    mixin = huggingface_hub.PyTorchModelHubMixin
    theirs = {*inspect.signature(mixin.push_to_hub).parameters} - {"self", "branch"} | {"revision"}
    assert {"repo_id", "private", "token", "revision", "commit_message", "create_pr"} <= theirs
    ours = inspect.signature(from_hub).parameters
    assert {"module", "train", "partial"} == {*inspect.signature(load_generator).parameters} & {*ours}
