"""The figures of a site over some days: what came in, what was flagged, what readers said, how long they took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from triage.domain.finding import WorklistStatus
from triage.domain.reading import Verdict
from triage.domain.statistics import (
    Proportion,
    Waiting,
    drift_limit,
    histogram,
    population_stability_index,
    shifts,
    waiting,
)

SHIFT_NAMES = ("00 to 08 h", "08 to 16 h", "16 to 24 h")
"""The three shifts of a day, in UTC."""

FIRST_STUDIES = 500
"""So many studies of a site stand for its beginning, where a bundle brings no reference."""

FEWEST = 50
"""Below so many studies a distribution is not compared."""

SITE_EDGES = tuple(round(0.1 * step, 1) for step in range(11))

OPENED_EDGES_MINUTES = (0.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 1440.0, float("inf"))

UNKNOWN = "not known"


@dataclass(slots=True)
class Day:
    """What the studies add up to whose first instance came in on one day (UTC)."""

    studies: Counter[tuple[int, WorklistStatus, Verdict | None]] = field(default_factory=Counter)
    scores: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    opened_seconds: dict[WorklistStatus, NDArray[np.float64]] = field(default_factory=dict)
    origins: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class ShiftFigures:
    """Flags of the shifts of one name: how many, how many of them were judged, and how many of those were false."""

    name: str
    flagged: int
    judged: int
    false: int


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """Everything that the statistics page says about a window, both days included.

    ``verdicts`` counts the last verdict on each study, by what the list said of it. ``shift_count`` is how many
    shifts the window has had since the day of its first study began, and not less than one: the first hour of a site
    would make a single false flag look like many. ``most_false`` is the worst of them.
    """

    first: date
    last: date
    by_status: Mapping[WorklistStatus, int]
    verdicts: Mapping[tuple[WorklistStatus, Verdict | None], int]
    by_day: Sequence[tuple[date, Proportion]]
    by_shift: Sequence[ShiftFigures]
    shift_count: float
    most_false: int
    opened: Mapping[WorklistStatus, Waiting]
    opened_counts: Mapping[WorklistStatus, Sequence[int]]
    origins: Mapping[str, int]

    @property
    def studies(self) -> int:
        """All that came in."""
        return sum(self.by_status.values())

    @property
    def positive(self) -> Proportion:
        """Suspected, of those that were analysed."""
        suspected = self.by_status.get(WorklistStatus.SUSPECTED, 0)
        return Proportion(suspected, suspected + self.by_status.get(WorklistStatus.NOT_SUSPECTED, 0))

    def judged(self, status: WorklistStatus, *verdicts: Verdict) -> int:
        """How many studies of this status have one of these verdicts; any at all when none is named."""
        return sum(self.verdicts.get((status, verdict), 0) for verdict in verdicts or Verdict)

    @property
    def predictive_value(self) -> Proportion:
        """Agreed or partly agreed, of the flagged studies that somebody judged."""
        flagged = WorklistStatus.SUSPECTED
        return Proportion(self.judged(flagged, Verdict.AGREE, Verdict.PARTLY), self.judged(flagged))

    @property
    def false_flags(self) -> int:
        """Flagged studies with which a reader disagreed."""
        return self.judged(WorklistStatus.SUSPECTED, Verdict.DISAGREE)

    @property
    def false_flags_a_shift(self) -> float | None:
        """False flags for each shift of eight hours."""
        return self.false_flags / self.shift_count if self.shift_count else None

    @property
    def missed(self) -> Proportion:
        """Studies without a flag with which a reader disagreed, of those without a flag that somebody judged."""
        clear = WorklistStatus.NOT_SUSPECTED
        return Proportion(self.judged(clear, Verdict.DISAGREE), self.judged(clear))


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far counts by bin have moved from what was expected; ``shares`` are the expected ones.

    ``against`` says in words what the counts are compared with; ``index`` is None while there is too little.
    """

    against: str
    labels: Sequence[str]
    shares: Sequence[float]
    counts: Sequence[int]
    expected_n: int
    index: float | None
    limit: float

    @property
    def n(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    @property
    def exceeded(self) -> bool:
        """Whether they moved by more than chance and trifles."""
        return self.index is not None and self.index > self.limit


def site_figures(days: Sequence[tuple[date, Day]], elapsed: timedelta) -> SiteFigures:
    """Add up days, which follow one another; ``elapsed`` is how long it is since the first of them began."""
    total: Counter[tuple[int, WorklistStatus, Verdict | None]] = Counter()
    for _, day in days:
        total.update(day.studies)
    by_status: Counter[WorklistStatus] = Counter()
    verdicts: Counter[tuple[WorklistStatus, Verdict | None]] = Counter()
    for (_, status, verdict), count in total.items():
        by_status[status] += count
        verdicts[status, verdict] += count
    empty = next((number for number, (_, day) in enumerate(days) if day.studies), len(days))
    opened = {
        status: _joined(day.opened_seconds.get(status) for _, day in days)
        for status in (WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED)
    }
    origins: Counter[str] = Counter()
    for _, day in days:
        origins.update(day.origins)
    return SiteFigures(
        first=days[0][0],
        last=days[-1][0],
        by_status=by_status,
        verdicts=verdicts,
        by_day=[(date_, _positive(day)) for date_, day in days],
        by_shift=[_shift_figures(total, number) for number in range(len(SHIFT_NAMES))],
        shift_count=max(1.0, shifts(elapsed - timedelta(days=empty))) if empty < len(days) else 0.0,
        most_false=max((_false(day.studies, shift) for _, day in days for shift in range(len(SHIFT_NAMES))), default=0),
        opened={status: waiting(seconds) for status, seconds in opened.items()},
        opened_counts={status: _by_minutes(seconds) for status, seconds in opened.items()},
        origins=origins,
    )


def compare_scores(
    days: Iterable[Day], bundle: str, edges: Sequence[float], expected: Sequence[float], expected_n: int, against: str
) -> Comparison:
    """How the scores that a bundle gave on these days compare with the shares of a reference, by bin."""
    counts = histogram(_joined(day.scores.get(bundle) for day in days), edges)
    labels = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    return _compare(against, labels, expected, expected_n, counts)


def compare_origins(now: Mapping[str, int], before: Mapping[str, int], against: str) -> Comparison:
    """How the mix of scanners and slice thicknesses compares with that of an earlier time."""
    labels = sorted({*now, *before}, key=lambda name: (-now.get(name, 0), -before.get(name, 0), name))
    counts = [now.get(name, 0) for name in labels]
    return _compare(against, labels, [before.get(name, 0) for name in labels], sum(before.values()), counts)


def shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    """The share of values in each bin."""
    counts = histogram(np.asarray(values, np.float64), edges)
    return [count / max(1, sum(counts)) for count in counts]


def origin(scanner: str | None, slice_thickness_mm: float | None) -> str:
    """Where a study came from, in words."""
    thickness = UNKNOWN if slice_thickness_mm is None else f"{slice_thickness_mm:.1f} mm"
    return f"{scanner or UNKNOWN}, {thickness}"


def _compare(
    against: str, labels: Sequence[str], expected: Sequence[float], expected_n: int, counts: Sequence[int]
) -> Comparison:
    n, total = sum(counts), sum(expected)
    enough = n >= FEWEST and expected_n >= FEWEST and len(labels) > 1
    return Comparison(
        against=against,
        labels=labels,
        shares=[value / total if total else 0.0 for value in expected],
        counts=counts,
        expected_n=expected_n,
        index=population_stability_index(expected, counts) if enough else None,
        limit=drift_limit(len(labels), n, expected_n) if enough else 0.0,
    )


def _joined(parts: Iterable[NDArray[np.float64] | None]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *(part for part in parts if part is not None)])


def _positive(day: Day) -> Proportion:
    counts: Counter[WorklistStatus] = Counter()
    for (_, status, _), count in day.studies.items():
        counts[status] += count
    suspected = counts[WorklistStatus.SUSPECTED]
    return Proportion(suspected, suspected + counts[WorklistStatus.NOT_SUSPECTED])


def _shift_figures(studies: Counter[tuple[int, WorklistStatus, Verdict | None]], shift: int) -> ShiftFigures:
    flagged = {verdict: studies[shift, WorklistStatus.SUSPECTED, verdict] for verdict in (None, *Verdict)}
    total = sum(flagged.values())
    return ShiftFigures(SHIFT_NAMES[shift], total, total - flagged[None], flagged[Verdict.DISAGREE])


def _false(studies: Counter[tuple[int, WorklistStatus, Verdict | None]], shift: int) -> int:
    return studies[shift, WorklistStatus.SUSPECTED, Verdict.DISAGREE]


def _by_minutes(seconds: NDArray[np.float64]) -> list[int]:
    edges = np.asarray(OPENED_EDGES_MINUTES) * 60.0
    return [int(((seconds >= low) & (seconds < high)).sum()) for low, high in pairwise(edges)]
