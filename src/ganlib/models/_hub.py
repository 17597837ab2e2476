"""Upload generators to the Hugging Face Hub with a model card, and download them."""

import importlib
import io
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from ganlib._checks import check_flag
from ganlib._files import remove_files, write_atomically
from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    CheckpointError,
    GanlibError,
    GanlibRuntimeError,
    MissingExtraError,
)
from ganlib.models._files import LoadedModule, load_generator, save_generator
from ganlib.models._model_card import is_unedited, model_card

__all__ = ["from_hub", "push_to_hub"]

_FILE = "generator.safetensors"
_CARD = "README.md"
_IMAGE = "samples.png"
_LOG_IN = "log in by huggingface_hub.login(), or pass the token of an account that may"

# Class names of errors of huggingface_hub and its HTTP libraries, with their meanings.
_REASONS = {
    "GatedRepoError": f"its owner has to give you access on its page first; then {_LOG_IN}",
    "RepositoryNotFoundError": f"there is no such repository, or it is private: {_LOG_IN}",
    "RevisionNotFoundError": "the repository has no such revision",
    "LocalEntryNotFoundError": "the file was not downloaded before, and the Hub cannot be reached now",
    "EntryNotFoundError": "the repository has no such file",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set in the environment",
    "LocalTokenNotFoundError": f"there is no token: {_LOG_IN}",
    "TransportError": "the Hub cannot be reached",
    "ConnectionError": "the Hub cannot be reached",
    "Timeout": "the Hub cannot be reached",
}
_STATUS = {401: f"the Hub does not know who you are: {_LOG_IN}", 403: f"you may not do that: {_LOG_IN}"}


def push_to_hub(
    generator: nn.Module,
    repo_id: str,
    *,
    info: Mapping[str, Any] | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Push a generator of ganlib",
    create_pr: bool = False,
    preview: str | os.PathLike[str] | None = None,
) -> str:
    """Upload a generator to the Hugging Face Hub in one commit; :func:`from_hub` loads it.

    The repository is created if it does not exist. It gets three files:

    - ``generator.safetensors``, the file of :func:`save_generator`.
    - ``README.md``, the model card. It describes the inputs and outputs of the generator, and has code to generate
      samples and a table of ``info``. An existing ``README.md`` is replaced only if ganlib wrote it and nobody has
      edited it.
    - ``samples.png``, the samples that the code in the card generates. The size of a latent comes from
      ``info["latent_dim"]`` or the first layer. ``info["latent"]`` is ``"gaussian"`` (the default) or ``"uniform"``.
      Conditions are made if an encoder of ganlib takes classes, tags or vectors. If the inputs are unknown, there is no
      image, and the image of an earlier generator is removed.

    With several processes, call it in only one of them.

    Args:
        generator: a generator that :func:`save_generator` accepts.
        repo_id: the repository, such as ``"me/digits"``. A name without a user belongs to the user who is logged in.
        info: values to store in the file and show in the card, such as ``latent_dim``, ``classes``, ``iterations`` and
            ``license``. They must be valid in JSON. ``license`` must be a license name of the Hub, such as ``"mit"``;
            it becomes the license in the metadata of the card. None is ``generator.info``, if it exists;
            :func:`load_generator` sets it.
        private: whether a new repository is private. None is the default of its owner.
        token: token of Hugging Face. None is the token of ``huggingface_hub.login()``.
        revision: the branch, which is created if it does not exist. None is the main branch.
        commit_message: the message of the commit.
        create_pr: whether to open a pull request to the main branch instead.
        preview: a local folder to write the files to instead of uploading them, without network. ``from_hub`` loads
            from it too.

    Returns:
        The URL of the commit or the pull request; with ``preview``, the folder.

    Raises:
        MissingExtraError: if huggingface_hub is not installed. The card needs it even with ``preview``.
        ArgumentTypeError, ArgumentValueError: if ``repo_id`` or the license is not a valid name, another argument has a
            wrong type, or the generator or its info cannot be saved (see :func:`save_generator`). Then nothing is
            created or uploaded.
        GanlibRuntimeError: if the Hub cannot be reached or refuses; the message says why.
        RunFolderError: if the files cannot be written.

    Warns:
        UserWarning: if there is no image because the generator does not take the latents of ``info``, or if an edited
            card shows an image that is removed.

    Example:
        >>> import tempfile
        >>> from ganlib import models
        >>> generator = models.pretrained("mnist_cdcgan")
        >>> models.push_to_hub(generator, "me/digits")  # doctest: +SKIP
        'https://huggingface.co/me/digits/commit/...'
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = models.push_to_hub(generator, "me/digits", preview=folder)
        ...     sorted(os.listdir(folder))
        ['README.md', 'generator.safetensors', 'samples.png']

    References:
        Mitchell et al., "Model Cards for Model Reporting", 2019, arXiv:1810.03993.
    """
    hub = _package()
    _check_repo_id(hub, repo_id, "the name of a repository, such as 'me/digits'")
    _check_type("private", private, bool)
    _check_connection(token, revision)
    if not isinstance(commit_message, str):
        raise ArgumentTypeError(f"commit_message (={shown(commit_message)}) must be a str")
    create_pr = check_flag("create_pr", create_pr)
    if create_pr and revision is not None:
        raise ArgumentValueError(
            f"revision (={shown(revision)}) must be None with create_pr (=True): a pull request is to the main branch"
        )
    if info is None:
        own = getattr(generator, "info", None)
        info = own if isinstance(own, Mapping) else {}
    _check_license(info)
    if preview is not None:
        if not isinstance(preview, str | os.PathLike):
            raise ArgumentTypeError(f"preview (={shown(preview)}) must be a folder, a str or a pathlib.Path")
        folder = Path(preview)
        save_generator(folder / _FILE, generator, info)
        _write_card(hub, folder, repo_id, generator, info, folder / _CARD)
        return str(preview)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "files")
        save_generator(folder / _FILE, generator, info)  # raise its errors before a repository is created
        with _explained(GanlibRuntimeError, f"repo_id (={shown(repo_id)}): nothing was pushed"):
            api = hub.HfApi(token=token)
            new = {} if private is None else {"private": private}
            repo_id = api.create_repo(repo_id, exist_ok=True, **new).repo_id
            if revision is not None and not revision.startswith("refs/"):
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            there = Path(temporary, "there")
            if api.file_exists(repo_id, _CARD, revision=revision):
                api.hf_hub_download(repo_id, _CARD, revision=revision, local_dir=there)
            _write_card(hub, folder, repo_id, generator, info, there / _CARD)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message,
                revision=revision,
                create_pr=create_pr,
                delete_patterns=None if (folder / _IMAGE).exists() else [_IMAGE],
            )
    return str(commit.pr_url or commit.commit_url)


def from_hub(
    repo_id: str | os.PathLike[str],
    module: nn.Module | None = None,
    *,
    filename: str = _FILE,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    train: bool = False,
    partial: bool = False,
) -> LoadedModule:
    """Load a generator from the Hugging Face Hub or a local folder, without running code from the file.

    The file is downloaded once, and kept in the cache of huggingface_hub.

    Args:
        repo_id: the repository, such as ``"me/digits"``, or a local folder, such as that of a run. A folder of this
            name comes first.
        module: module to load the weights into. None rebuilds the generator from the recipe in the file.
        filename: the file in the repository or folder. It can be any safetensors file with the weights of ``module``.
        revision: a branch, a tag or a commit. None is the newest commit of the main branch. A commit always loads the
            same generator, even if its owner uploads another one later. It must be None for a folder.
        token: token of Hugging Face, for a private repository. None is the token of ``huggingface_hub.login()``.
        cache_dir: the folder of the cache. None is the default of huggingface_hub.
        local_files_only: whether to use only the cache, without a connection to the Hub.
        train: whether to return it in training mode, for further training.
        partial: whether to load only the weights whose names and shapes fit.

    Returns:
        The generator, see :func:`load_generator`.

    Raises:
        MissingExtraError: if huggingface_hub is not installed, and ``repo_id`` is not a folder.
        CheckpointError: if the file cannot be downloaded (the message says why), or :func:`load_generator` cannot read
            it.
        ArgumentValueError: if ``repo_id`` is neither a folder nor a valid name of a repository, if a folder is given
            with a revision, or for the reasons of :func:`load_generator`.
        ArgumentTypeError: if an argument has a wrong type.

    Warns:
        UserWarning: if ``partial`` is True and weights do not fit.

    Example:
        >>> import tempfile
        >>> from ganlib import models
        >>> generator = models.from_hub("me/digits")  # doctest: +SKIP
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = models.push_to_hub(models.pretrained("mnist_cdcgan"), "me/digits", preview=folder)
        ...     models.from_hub(folder).info["iterations"]
        30000
    """
    if not isinstance(repo_id, str | os.PathLike):
        raise ArgumentTypeError(f"repo_id (={shown(repo_id)}) must be the name of a repository, or a folder")
    if not isinstance(filename, str):
        raise ArgumentTypeError(f"filename (={shown(filename)}) must be the name of a file, a str")
    _check_connection(token, revision)
    _check_type("cache_dir", cache_dir, str, os.PathLike)
    local_files_only = check_flag("local_files_only", local_files_only)
    if isinstance(repo_id, os.PathLike) or os.path.isdir(repo_id):
        if revision is not None:
            raise ArgumentValueError(
                f"revision (={shown(revision)}) must be None for the folder {shown(os.fspath(repo_id))}, which has no "
                "revisions; a folder of that name comes before a repository"
            )
        path = Path(repo_id, filename)
    else:
        hub = _package()
        _check_repo_id(hub, repo_id, "a folder, which is not there, or the name of a repository, such as 'me/digits'")
        where = f"{filename} (revision={shown(revision)})" if revision is not None else filename
        with _explained(
            CheckpointError, f"repo_id (={shown(repo_id)}) is not a folder, and {where} cannot be downloaded"
        ):
            path = hub.hf_hub_download(
                repo_id,
                filename,
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                local_files_only=local_files_only,
            )
    return load_generator(path, module, train=train, partial=partial)


def _write_card(hub: Any, folder: Path, repo_id: str, generator: nn.Module, info: Mapping[str, Any], old: Path) -> None:
    """Write the image of samples, and the card, unless a user wrote or edited the old card."""
    try:
        loaded: nn.Module = load_generator(folder / _FILE)
        rebuilt = True
    except ArgumentValueError:  # the file has no recipe
        loaded, rebuilt = generator, False
    text, image = model_card(hub, repo_id, loaded, info, rebuilt=rebuilt)
    there = old.read_text("utf-8", "replace") if old.exists() else None
    if there is None or is_unedited(there):
        write_atomically(folder / _CARD, lambda file: file.write(text.encode()))
    elif image is None and _IMAGE in there:
        warn_user(
            f"{_CARD} was edited and is kept, but it names {_IMAGE}, which is removed: this generator has no image"
        )
    if image is None:
        remove_files([folder / _IMAGE])
    else:
        content = io.BytesIO()
        image.save(content, "PNG")
        write_atomically(folder / _IMAGE, lambda file: file.write(content.getbuffer()))


def _package() -> Any:
    try:
        importlib.import_module("huggingface_hub.utils")  # the package itself does not import it
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtraError(
            f"{(error.name or 'huggingface_hub').partition('.')[0]} is not installed, which the Hugging Face Hub and "
            'model cards need: pip install "ganlib[hub]"'
        ) from error


def _check_repo_id(hub: Any, repo_id: Any, what: str) -> None:
    if not isinstance(repo_id, str):
        raise ArgumentTypeError(f"repo_id (={shown(repo_id)}) must be {what}")
    try:
        hub.utils.validate_repo_id(repo_id)
    except ValueError as error:
        reason = " ".join(str(error).partition(f" '{repo_id}'")[0].split()).rstrip(":")
        raise ArgumentValueError(f"repo_id (={shown(repo_id)}) must be {what}: {reason:.150}") from error


def _check_type(name: str, value: Any, *types: type) -> None:
    if not isinstance(value, (*types, type(None))):
        raise ArgumentTypeError(f"{name} (={shown(value)}) must be {_listed(*types)}")


def _check_connection(token: Any, revision: Any) -> None:
    if not isinstance(token, str | bool | None):  # a secret must not appear in an error
        raise ArgumentTypeError(f"token (a {type(token).__name__}) must be {_listed(str, bool)}")
    _check_type("revision", revision, str)


def _listed(*types: type) -> str:
    return f"a {', a '.join(each.__name__ for each in types)} or None"


def _check_license(info: Any) -> None:
    name = info.get("license") if isinstance(info, Mapping) else None
    if isinstance(name, str) and not re.fullmatch(r"[a-z0-9][a-z0-9._+-]*", name.lower()):
        raise ArgumentValueError(
            f"info['license'] (={shown(name)}) must be the Hub's name of a license, such as 'mit' or 'apache-2.0', or "
            "'other'"
        )


@contextmanager
def _explained(kind: type[GanlibError], what: str) -> Iterator[None]:
    """Convert every error of the Hub in this context to an error of ganlib that states the reason."""
    try:
        yield
    except GanlibError:
        raise
    except Exception as error:
        met: Any = error
        if type(error).__name__ == "LocalEntryNotFoundError" and error.__cause__ is not None:
            met = error.__cause__
        reasons = [_REASONS[cls.__name__] for cls in type(met).__mro__ if cls.__name__ in _REASONS]
        status: Any = getattr(getattr(met, "response", None), "status_code", None)
        line = f"{type(met).__name__}: {met}".strip().splitlines()[0]
        reason = reasons[0] if reasons else _STATUS.get(status, line)
        raise kind(f"{what}: {reason:.500}") from error
