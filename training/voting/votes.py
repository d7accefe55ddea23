"""The file of votes: a line of JSON for each, written at once, by as many people and processes as there are."""

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from psp_hub.images.folder import listed
from training.voting.pairs import Question

logger = logging.getLogger(__name__)

VOTER = r"[0-9a-f]{32}"  # a random number: all that is kept of a person


@dataclass(frozen=True)
class Vote:
    """What one voter chose: `chosen` is the system `left` or `right`.

    Raises:
        ValueError: a field that is no text, a voter that is no random id, or a choice that was not shown.
    """

    voter: str
    kind: str
    name: str
    left: str
    right: str
    chosen: str

    def __post_init__(self) -> None:
        if not all(isinstance(value, str) for value in asdict(self).values()) or not re.fullmatch(VOTER, self.voter):
            raise ValueError(f"not a vote: {self}")
        if self.chosen not in (self.left, self.right):
            raise ValueError(f"{self.chosen!r} was chosen, expected {self.left!r} or {self.right!r}")

    @property
    def question(self) -> Question:
        return Question(self.kind, self.name, self.left, self.right)


class VotesFile:
    """A file of votes that grows; it need not be there yet."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, vote: Vote) -> None:
        """Write a vote to the disk, after those of others; whoever writes waits for whoever is writing.

        A line that was cut off before, as by a full disk, keeps its own line. What cannot be written whole is taken
        back.

        Raises:
            OSError: it cannot be written.
        """
        with self._locked() as descriptor:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            cut = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
            line = b"\n" * cut + json.dumps(asdict(vote)).encode() + b"\n"
            try:
                if os.write(descriptor, line) < len(line):
                    raise OSError(f"{self.path}: no room for a vote")
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise

    def read(self) -> list[Vote]:
        """All votes, oldest first. Lines that are none are left out, and their numbers logged."""
        votes, damaged = [], []
        lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    votes.append(read_vote(line))
                except ValueError:
                    damaged.append(str(number))
        if damaged:
            logger.warning("%s: no votes in line %s; left out", self.path, listed(damaged))
        return votes

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Yields the open file, which nobody else writes to meanwhile."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)  # which unlocks it


def read_vote(line: bytes) -> Vote:
    """A vote from its line.

    Raises:
        ValueError: it is none.
    """
    values = json.loads(line)
    if not isinstance(values, dict) or values.keys() != {field.name for field in fields(Vote)}:
        raise ValueError(f"not a vote: {line!r:.100}")
    return Vote(**values)


def first_votes(votes: Iterable[Vote]) -> list[Vote]:
    """Of votes of one voter on the same question, as from two windows, the first."""
    first: dict[tuple, Vote] = {}
    for vote in votes:
        first.setdefault((vote.voter, vote.question.key), vote)
    return list(first.values())
