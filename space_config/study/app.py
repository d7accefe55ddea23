"""The page of a study as a Space: it asks about the folders in study/ beside this file."""

import argparse
import sys
from pathlib import Path

from psp_hub.demo.launch import default_address, on_space
from training.voting.page import serve
from training.voting.pairs import Study

HERE, STORAGE = Path(__file__).resolve().parent, Path("/data")


def main() -> None:
    """Show the page; votes go to the storage of the Space, if it has one."""
    parser = argparse.ArgumentParser(description="A page that asks which of two answers is better.")
    host, port = default_address()
    parser.add_argument("--host", default=host)
    parser.add_argument("--port", type=int, default=port)
    args = parser.parse_args()
    votes = (STORAGE if on_space() and STORAGE.is_dir() else HERE) / "votes.jsonl"
    try:
        serve(Study(sorted((HERE / "study").iterdir())), votes, args.host, args.port)
    except (ValueError, OSError) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
