"""What the votes say: who is preferred, how sure that is, and how far people agree."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.voting.intervals import krippendorff_alpha, wilson_interval
from training.voting.pairs import SHUFFLED
from training.voting.votes import Vote, first_votes

ALL_KINDS = "all"
# Share of answers that preferred pSp, by kind of input and other system (pSp, user study). The paper's figures, of
# other models, people and pictures than those of a study here.
PAPER = {
    ("segmentation", "pix2pixhd"): 0.9472,
    ("segmentation", "spade"): 0.9525,
    ("segmentation", "ccfpse"): 0.9306,
    ("sketch", "pix2pixhd"): 0.9334,
}
OURS = "psp"


@dataclass(frozen=True)
class Preference:
    """How two systems compare on one kind of input.

    Args:
        system, other: of all votes on the two, ...
        preferred, votes: ... so many preferred the first, of so many.
        interval: of that share, 95 % (Wilson).
        alpha: agreement of the voters (Krippendorff); None if nobody saw the same pair, or all chose one system.
        paper: the share that the paper reports for systems of these names.
    """

    kind: str
    system: str
    other: str
    preferred: int
    votes: int
    interval: tuple[float, float]
    alpha: float | None
    paper: float | None

    @property
    def share(self) -> float:
        return self.preferred / self.votes


@dataclass(frozen=True)
class Report:
    """A row for each two systems and kind of input, and how many voters count: those who failed no check."""

    rows: list[Preference]
    voters: int
    inattentive: int
    left: float  # share of votes for the answer on the left

    def __str__(self) -> str:
        """As a table in Markdown."""
        head = ("input", "preferred", "over", "votes", "share", "95 % (Wilson)", "alpha (Krippendorff)", "the paper's")
        lines = [head, ("---",) * len(head)]
        for row in self.rows:
            low, high = (percent(end) for end in row.interval)
            alpha = "-" if row.alpha is None else f"{row.alpha:.3f}"
            paper = "-" if row.paper is None else percent(row.paper)
            names = (row.kind, row.system, row.other)
            lines.append((*names, str(row.votes), percent(row.share), f"{low} to {high}", alpha, paper))
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return (
            f"{self.voters} voters; {self.inattentive} more failed an attention check and are left out. "
            f"The answer on the left was chosen in {percent(self.left)}.\n\n{table}"
        )


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def make_report(votes: Iterable[Vote], ours: str | None = None) -> Report:
    """Count the votes.

    Args:
        ours: the system whose preference over others is told; by default `psp` if there is one, else of any two the
            first by name.

    Raises:
        ValueError: no vote counts, or none is about `ours`.
    """
    votes = first_votes(votes)
    careless = {vote.voter for vote in votes if vote.chosen == SHUFFLED}
    counted = [vote for vote in votes if vote.voter not in careless and not vote.question.is_check]
    systems = {system for vote in counted for system in (vote.left, vote.right)}
    if not counted:
        raise ValueError(f"there are no votes that count; {len(careless)} voters failed an attention check")
    if ours is not None and ours not in systems:
        raise ValueError(f"there are no votes on {ours}, but on {', '.join(sorted(systems))}")
    groups: dict[tuple[str, str, str], list[Vote]] = {}
    kinds = {vote.kind for vote in counted}
    for vote in counted:
        first = ours or next((name for name in (vote.left, vote.right) if plain(name) == OURS), None)
        system, other = sorted((vote.left, vote.right), key=lambda name: (name != first, name))
        for kind in (vote.kind, ALL_KINDS) if len(kinds) > 1 else (vote.kind,):
            groups.setdefault((kind, system, other), []).append(vote)
    order = sorted(groups, key=lambda group: (group[0] == ALL_KINDS, group))
    rows = [prefer(*group, groups[group]) for group in order]
    left = sum(vote.chosen == vote.left for vote in counted) / len(counted)
    return Report(rows, len({vote.voter for vote in counted}), len(careless), left)


def prefer(kind: str, system: str, other: str, votes: Sequence[Vote]) -> Preference:
    """The row of two systems from their votes."""
    preferred = sum(vote.chosen == system for vote in votes)
    units: dict[tuple[str, str], list[str]] = {}
    for vote in votes:
        units.setdefault((vote.kind, vote.name), []).append(vote.chosen)
    interval, alpha = wilson_interval(preferred, len(votes)), krippendorff_alpha(units.values())
    paper = PAPER.get((kind, plain(other))) if plain(system) == OURS else None
    return Preference(kind, system, other, preferred, len(votes), interval, alpha, paper)


def plain(name: str) -> str:
    """The name of a system as people spell it: CC-FPSE, cc_fpse, ..."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
