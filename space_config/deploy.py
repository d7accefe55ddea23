"""Make or update a Space on the Hugging Face Hub that shows the demo, or holds a blind study, in one commit.

    python space_config/deploy.py --repo-id user/draw-a-face --dry-run
    python space_config/deploy.py --repo-id user/draw-a-face --hardware zero-a10g
    python space_config/deploy.py --repo-id user/which-face --study study/sketch study/segmentation

Run it from an installed checkout (`pip install -e .`). What the Space no longer needs is deleted from its repository;
its settings, hardware and secrets stay as they are unless a flag names them.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, SpaceHardware, get_token
from huggingface_hub.errors import RepositoryNotFoundError
from staging import GENERATOR_FILES, list_files, stage, stage_study

from psp_hub.config import GeneratorReference
from psp_hub.hub.transfer import LIBRARY_NAME, LOG_IN, REPO_ID, explained, explained_push

KEPT = (".gitattributes",)  # files that the Hub itself puts into a repository


def find_generator(api: HfApi, repo_id: str) -> tuple[GeneratorReference, bool]:
    """The repository at its commit of now, and whether everybody may read it.

    Raises:
        ValueError: not a name of a repository, or it holds no generator.
        OSError: it cannot be read.
    """
    check_repo_id(repo_id, "generator")
    with explained(repo_id, None):
        info = api.model_info(repo_id)
    missing = set(GENERATOR_FILES) - {sibling.rfilename for sibling in info.siblings}
    if missing:
        raise ValueError(f"{repo_id} is not a generator: it has no {' and no '.join(sorted(missing))}")
    return GeneratorReference(repo_id, revision=info.sha), not (info.private or info.gated)


def check_repo_id(repo_id: str, kind: str) -> None:
    if not re.fullmatch(REPO_ID, repo_id):
        raise ValueError(f"the {kind} is {repo_id!r}, expected owner/name")


def read_secrets(texts: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, or NAME alone for the environment variable of that name.

    Raises:
        ValueError: not a name, or no such variable. The message never has a value in it.
    """
    secrets = {}
    for text in texts:
        name, has_value, value = text.partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError("a secret has no proper name, expected NAME=VALUE, or NAME of an environment variable")
        if not has_value and name not in os.environ:
            raise ValueError(f"the secret {name} has no value: pass {name}=VALUE, or set the environment variable")
        secrets[name] = value if has_value else os.environ[name]
    return secrets


def check_hardware(name: str | None) -> None:
    if name is not None and name not in list(SpaceHardware):
        raise ValueError(f"the hardware is {name!r}, expected one of {', '.join(SpaceHardware)}")


def push_space(
    api: HfApi,
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    hardware: str | None = None,
    secrets: dict[str, str] | None = None,
    message: str = "Deploy the demo",
) -> bool:
    """Make the repository of a Space hold exactly the files of `folder`, in one commit.

    Secrets are set before the commit, so that the first start has them. A new Space is made with its hardware, because
    some accounts may only make Spaces of one kind.

    Returns:
        Whether anything had changed.

    Raises:
        ValueError: `private` with a public Space.
        OSError: the Hub refuses, or cannot be reached.
    """
    files, secrets = list_files(folder), secrets or {}
    with explained_push(repo_id):
        try:
            info = api.space_info(repo_id)
        except RepositoryNotFoundError:
            info = None
        if info is None:
            listed = [{"key": name, "value": value} for name, value in secrets.items()]
            options = {"space_sdk": "gradio", "space_hardware": hardware, "space_secrets": listed or None}
            # None: what the owner has as a default.
            api.create_repo(repo_id, repo_type="space", private=private or None, **options)
            info = api.space_info(repo_id)
        else:
            if private and not info.private:
                raise ValueError(f"{repo_id} exists and is public; make it private in its settings, or choose another")
            for name, value in secrets.items():
                api.add_space_secret(repo_id, name, value)
            if hardware:
                api.request_space_hardware(repo_id, hardware)
        there = {sibling.rfilename for sibling in info.siblings}
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
        stale = sorted(there - {*files, *KEPT})
        operations += [CommitOperationDelete(path_in_repo=name, is_folder=False) for name in stale]
        commit = api.create_commit(
            repo_id, operations, commit_message=message, repo_type="space", parent_commit=info.sha
        )
    return commit.oid != info.sha


def deploy(args: argparse.Namespace) -> None:
    """Check, stage, and unless it is a dry run push.

    Raises:
        ValueError, OSError: with one line that says what to do.
    """
    check_repo_id(args.repo_id, "Space")
    check_hardware(args.hardware)
    if args.study and args.generator_repo:
        raise ValueError("--study needs no --generator-repo: it shows pictures that were made before")
    secrets = read_secrets(args.secret)
    api = HfApi(token=args.token, library_name=LIBRARY_NAME)
    if not args.dry_run and not (args.token or get_token()):
        raise ValueError(f"deploying to {args.repo_id} needs a token: {LOG_IN} that may write")
    generator, public = find_generator(api, args.generator_repo) if args.generator_repo else (None, True)
    if not public:
        say(f"{generator} is not public: the Space needs a secret HF_TOKEN that may read it.")
    with tempfile.TemporaryDirectory(prefix="psp-hub-space-") as name:
        folder = Path(name)
        if args.study:
            stage_study(folder, args.study)
        else:
            stage(folder, generator, preload=public)
        sizes = {name: path.stat().st_size for name, path in list_files(folder).items()}
        if args.dry_run:
            for name, size in sizes.items():
                say(f"{size:>12,}  {name}")
        say(f"{sum(sizes.values()):>12,}  bytes in {len(sizes)} files")
        if args.dry_run:
            return
        options = {"private": args.private, "hardware": args.hardware, "secrets": secrets}
        message = "Deploy a study" if args.study else "Deploy the demo"
        changed = push_space(api, folder, args.repo_id, message=message, **options)
    say(f"{api.endpoint}/spaces/{args.repo_id}" + ("" if changed else " (nothing had changed)"))


def say(text: str) -> None:
    print(text)  # noqa: T201


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deploy.py", description="Make or update a Space with the demo.")
    parser.add_argument("--repo-id", "--repo_id", required=True, help="the Space, owner/name")
    parser.add_argument("--private", action="store_true", help="make a new Space private")
    parser.add_argument(
        "--generator-repo",
        "--generator_repo",
        metavar="OWNER/NAME",
        help="repository with the generator (default: the one that the first start fetches)",
    )
    parser.add_argument(
        "--study",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="hold a blind study of these folders, as `training/study.py serve` does, instead of the demo",
    )
    parser.add_argument("--hardware", metavar="NAME", help="such as cpu-basic or zero-a10g (default: as it is)")
    parser.add_argument(
        "--secret",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="set a secret; NAME alone takes the value of that environment variable, which no list of processes shows",
    )
    parser.add_argument("--token", help="of the Hub (default: HF_TOKEN, or that of `hf auth login`)")
    parser.add_argument("--dry-run", "--dry_run", action="store_true", help="list files and sizes, write nothing")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program; errors end it with one line."""
    try:
        deploy(parse_arguments(argv))
    except (ValueError, OSError) as error:
        sys.exit("deploy.py: " + " ".join(str(error).split()))


if __name__ == "__main__":
    main()
