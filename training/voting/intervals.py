"""How sure a share is, and how far people agree."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import sqrt

Z_95 = 1.959963984540054  # the 97.5th percentile of the normal distribution


def wilson_interval(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927), by default of 95 %.

    Its ends are the p for which the share that was seen lies z standard errors of p away.

    Raises:
        ValueError: no trials, or more successes than these.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials}, expected 0 to n of n, which is 1 or more")
    share, square = successes / trials, z * z / trials
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Agreement on names (Krippendorff's alpha for nominal data): 1 if all agree, 0 as by chance.

    alpha = 1 - (n - 1) sum_c,k o_ck / sum_c,k n_c n_k over all c != k, with the coincidences o_ck of two answers to
    the same unit, each unit of m answers counting 1 / (m - 1) per pair.

    Args:
        units: the answers to each thing that was judged; those with fewer than two say nothing.

    Returns:
        None where it is not defined: nobody judged the same thing, or only one answer was ever given.
    """
    totals: Counter[str] = Counter()
    disagreement = 0.0
    for answers in units:
        if len(answers) < 2:
            continue
        counts = Counter(answers)
        totals += counts
        same = sum(count * count for count in counts.values())
        disagreement += (len(answers) ** 2 - same) / (len(answers) - 1)
    n = totals.total()
    by_chance = n * n - sum(count * count for count in totals.values())
    return 1 - (n - 1) * disagreement / by_chance if by_chance else None
