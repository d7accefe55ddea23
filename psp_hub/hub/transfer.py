"""Read from the Hub at one commit, write to it in one commit, and say what to do when it refuses."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeGuard

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ResolvedRevision,
    constants,
    hf_hub_download,
    resolve_revision,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    RevisionResolutionError,
)
from huggingface_hub.utils import httpx

CARD_NAME = "README.md"
LIBRARY_NAME = "psp-hub"
REPO_ID = r"\w[\w.-]*/\w[\w.-]*"  # owner/name
# The only library that the Hub's client misses, and not before it is asked to connect.
SOCKS = "a SOCKS proxy is set (ALL_PROXY), and needs `pip install socksio`; or unset it"
LOG_IN = "log in with `hf auth login`, or pass a token"


@dataclass(frozen=True)
class Access:
    """How the Hub is asked, with the meaning that these words have in huggingface_hub."""

    token: str | bool | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False
    force_download: bool = False


@dataclass(frozen=True)
class Source:
    """Where files are read from: a folder on this machine, or a repository on the Hub at one commit."""

    name: str
    revision: ResolvedRevision | None  # None: a folder on this machine
    subfolder: str
    access: Access

    def __str__(self) -> str:
        commit = f" at commit {self.commit[:8]}" if self.commit else ""
        return f"{self.name}{commit}{self.subfolder and ', folder '}{self.subfolder}"

    @property
    def commit(self) -> str | None:
        return self.revision.resolved if self.revision else None

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors in the content of a repository name the repository, not only our copy of it."""
        try:
            yield
        except ValueError as error:
            if self.revision is None:
                raise
            raise ValueError(f"{self}: {error}") from error

    def fetch(self, files: Iterable[str]) -> Path:
        """Make sure that `files` (relative to the source) are on this machine, undamaged.

        Returns:
            The folder that holds them. A local one is returned as it is, whether they are there or not.

        Raises:
            ValueError: the repository does not have one of them, or it arrived damaged.
            OSError: it cannot be downloaded; a class of huggingface_hub where it has one for the reason.
        """
        if self.revision is None:
            return Path(self.name, self.subfolder)
        for file in files:
            path = PurePosixPath(self.subfolder, file)
            with explained(self.name, self.revision):
                local = self.download(str(path))
        return local.parents[len(PurePosixPath(file).parts) - 1]

    def download(self, path: str) -> Path:
        """The path of a file in the cache, downloaded and checked if it is not there."""
        cached = try_to_load_from_cache(self.name, path, cache_dir=self.access.cache_dir, revision=self.commit)
        if isinstance(cached, str) and not self.access.force_download:
            return Path(cached)
        options = vars(self.access)
        try:
            local = Path(
                hf_hub_download(self.name, path, revision=self.revision, library_name=LIBRARY_NAME, **options)
            )
        except LocalEntryNotFoundError:  # not known whether the repository has it
            raise
        except EntryNotFoundError as error:
            hint = "; was it saved without this variant?" if len(PurePosixPath(path).suffixes) > 1 else ""
            raise ValueError(f"{self} has no file {path}{hint}") from error
        check_digest(local, f"{path} of {self.name}")
        return local


def open_source(
    name_or_path: str | Path, access: Access, revision: str | None = None, subfolder: str | None = None
) -> Source:
    """Decide whether a name is a folder or a repository, and resolve its revision: one request, or none.

    A folder of that name wins over a repository. A `Path` is always a folder.

    Raises:
        ValueError: a revision of a local folder, or a subfolder that leads outside.
        RepositoryNotFoundError: no such repository, or a private one that the token may not see.
        GatedRepoError: its owner has to let you in first.
        RevisionNotFoundError: no such revision.
        LocalEntryNotFoundError: the Hub cannot be reached (or may not be), and the revision is not in the cache.
    """
    subfolder = subfolder or ""
    parts = PurePosixPath(subfolder).parts
    if ".." in parts or subfolder.startswith("/"):
        raise ValueError(f"subfolder is {subfolder!r}, expected a relative path inside {name_or_path}")
    if not is_repo_id(name_or_path):
        if revision is not None:
            raise ValueError(f"{name_or_path} is a folder on this machine, and has no revision {revision!r}")
        return Source(str(name_or_path), None, "/".join(parts), access)
    with explained(name_or_path, revision):
        resolved = resolve_revision(
            name_or_path,
            revision=revision,
            cache_dir=access.cache_dir,
            local_files_only=access.local_files_only,
            token=access.token,
        )
    return Source(name_or_path, resolved, "/".join(parts), access)


def is_repo_id(name: str | Path) -> TypeGuard[str]:
    """Whether `name` is a string of the form `owner/name` that is not also a file or folder here."""
    return isinstance(name, str) and bool(re.fullmatch(REPO_ID, name)) and not Path(name).exists()


def check_digest(path: Path, name: str) -> None:
    """Compare a fresh download with its SHA-256, under which the cache keeps large files; delete it if it is damaged.

    huggingface_hub compares sizes only.

    Raises:
        ValueError: it is damaged.
    """
    blob = path.resolve()
    if not re.fullmatch("[0-9a-f]{64}", blob.name):  # a small file, or a system without links
        return
    with open(blob, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != blob.name:
        path.unlink()
        blob.unlink()
        raise ValueError(
            f"{name} arrived damaged: its SHA-256 is {digest}, expected {blob.name}. It is deleted, try again"
        )


@contextmanager
def explained(repo_id: str, revision: str | None) -> Iterator[None]:
    """Errors of reading keep their class, and say in our words what is wrong with what, and what to do."""
    try:
        yield
    except GatedRepoError as error:
        advice = f"ask for access at {constants.ENDPOINT}/{repo_id}, then {LOG_IN}"
        raise again(error, f"{repo_id} is gated: {advice}") from error
    except RepositoryNotFoundError as error:
        advice = f"check the name; if it is private, {LOG_IN} that may read it"
        raise again(error, f"there is no folder and no model repository {repo_id}: {advice}") from error
    except RevisionNotFoundError as error:
        raise again(error, f"{repo_id} has no branch, tag or commit {str(revision)!r}") from error
    except (RevisionResolutionError, LocalEntryNotFoundError) as error:
        advice = "connect once without local_files_only and HF_HUB_OFFLINE, or pass a folder"
        reason = f"{repo_id} (revision {revision or 'main'}) is not in the cache and cannot be downloaded"
        raise LocalEntryNotFoundError(f"{reason}: {advice}. {error}") from error
    except HfHubHTTPError as error:
        raise again(error, f"the Hub refuses to read {repo_id}: {error}") from error
    except httpx.TransportError as error:
        raise ConnectionError(f"no connection to the Hub while reading {repo_id}, try again: {error}") from error
    except ImportError as error:
        raise ConnectionError(f"no connection to the Hub while reading {repo_id}: {SOCKS}") from error
    except OSError as error:  # a file of another size than announced, a full disk
        raise OSError(f"downloading {repo_id} failed, try again: {error}") from error


def again(error: HfHubHTTPError, message: str) -> HfHubHTTPError:
    return type(error)(message, response=error.response, server_message=error.server_message)


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    commit_message: str,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    tag: str | None = None,
    token: str | bool | None = None,
    replaced: Iterable[str] = (),
) -> CommitInfo:
    """Upload all files of `folder` in one commit; the repository and the branch are made where they are missing.

    A card (`README.md`) that the repository already has stays: somebody may have edited it.

    Args:
        private: whether a new repository is private; True also refuses to push to a public one.
        revision: branch, by default `main`.
        create_pr: open a pull request instead.
        tag: name for the new commit.
        replaced: folders of the repository that go where `folder` does not have them.

    Returns:
        The commit: its URL as a string, and its `oid`.

    Raises:
        ValueError: not `owner/name`, a tag that exists, `private` with a public repository, or `create_pr` with a
            branch or a tag.
        HfHubHTTPError: the token may not write there, or another error of the Hub.
    """
    if create_pr and (revision or tag):
        raise ValueError("create_pr goes without revision and tag: a pull request is made against main")
    if not re.fullmatch(REPO_ID, repo_id):
        raise ValueError(f"cannot push to {repo_id!r}, expected owner/name")
    api = HfApi(token=token, library_name=LIBRARY_NAME)
    with explained_push(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        if tag and tag in {ref.name for ref in api.list_repo_refs(repo_id).tags}:
            raise ValueError(f"{repo_id} already has the tag {tag!r}, choose another")
        info = api.model_info(repo_id, revision=revision)
        if private and not info.private:
            raise ValueError(f"{repo_id} exists and is public; make it private in its settings, or push elsewhere")
        there = {sibling.rfilename for sibling in info.siblings or ()}
        # The parent makes sure that nobody wrote a card since we looked.
        commit = api.create_commit(
            repo_id,
            [*additions(folder, there), *deletions(folder, there, replaced)],
            commit_message=commit_message,
            revision=revision,
            create_pr=create_pr,
            parent_commit=info.sha,
        )
        if tag:
            api.create_tag(repo_id, tag=tag, revision=commit.oid)
    return commit


def additions(folder: Path, there: set[str]) -> list[CommitOperationAdd]:
    """All files of `folder`; the card only if the repository, which has the files `there`, has none."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
        for name, path in files.items()
        if name != CARD_NAME or CARD_NAME not in there
    ]


def deletions(folder: Path, there: set[str], replaced: Iterable[str]) -> list[CommitOperationDelete]:
    """The folders among `replaced` that the repository has, and `folder` has not."""
    return [
        CommitOperationDelete(f"{old}/", is_folder=True)
        for old in replaced
        if any(name.startswith(f"{old}/") for name in there) and not Path(folder, old).exists()
    ]


@contextmanager
def explained_push(repo_id: str) -> Iterator[None]:
    """As `explained`, for writing."""
    try:
        yield
    except LocalTokenNotFoundError as error:
        raise LocalTokenNotFoundError(f"pushing to {repo_id} needs a token: {LOG_IN} that may write") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            advice = f"check the name of the owner, and {LOG_IN} that may write there"
            raise again(error, f"this token may not write to {repo_id}: {advice}. {error}") from error
        raise again(error, f"the Hub refuses the push to {repo_id}: {error}") from error
    except ImportError as error:
        raise ConnectionError(f"no connection to the Hub while writing {repo_id}: {SOCKS}") from error
    except (httpx.TransportError, OfflineModeIsEnabled) as error:
        raise ConnectionError(f"no connection to the Hub while pushing {repo_id}: {error}") from error
