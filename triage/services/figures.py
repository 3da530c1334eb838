"""The statistics of a site, kept by day in memory: only days of which something changed are read again."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from typing import NamedTuple

import numpy as np

from triage.domain.downtime import Drift
from triage.domain.figures import (
    FIRST_STUDIES,
    SITE_EDGES,
    Comparison,
    Day,
    SiteFigures,
    compare_origins,
    compare_scores,
    origin,
    shares,
    site_figures,
)
from triage.domain.finding import WorklistStatus
from triage.inference.manifest import ReferenceScores, reference_on_record
from triage.services.kept import Kept
from triage.store import bundles, figures
from triage.store.bundles import BundleOnRecord
from triage.store.db import Database, Transaction
from triage.store.figures import SHIFTS_A_DAY, StudyFigures

WINDOWS_DAYS = (7, 30, 90)
DRIFT_DAYS = 30

OVERLAP = timedelta(seconds=90)
"""A row is stamped before it is committed: changes are looked for from this long before the last look."""

LOOK_SECONDS = 1.0
LOOK_COST = 5.0
"""At most one part in six of the time goes into reading changes."""

KEPT_SECONDS = 60.0
"""So long the beginning of a site, and whether the scores have drifted, are taken for unchanged."""


class Statistics(NamedTuple):
    """What the statistics page shows.

    Attributes
    ----------
    scores : Comparison or None
        With a reference that was measured on patients, or else with the first studies of this site. The banner
        goes by this one.
    made : Comparison or None
        With the reference of made heads that the bundle carries: patients differ from those in any case.
    as_of : datetime
        When the stores were last looked at.
    """

    figures: SiteFigures
    scores: Comparison | None
    made: Comparison | None
    origins: Comparison
    bundle: str | None
    reference: ReferenceScores | None
    as_of: datetime


class _Beginning(NamedTuple):
    """The first scores of a bundle at this site, and the day after the last of them."""

    scores: list[float]
    after: date


class Ledger:
    """Figures by day, shared by the threads of a process. It only saves time: nothing of it is kept."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._days: dict[date, Day] = {}
        self._looked_at: datetime | None = None
        self._look_again = 0.0
        self._beginnings: dict[str, tuple[float, _Beginning | None]] = {}
        self._drift = Kept[Drift | None](KEPT_SECONDS)
        self._lock = Lock()

    def statistics(self, days: int, now: datetime) -> Statistics:
        """The figures of the last ``days`` days, today among them.

        Raises
        ------
        StoreUnavailable
        """
        with self._lock, self._db.read() as tx:
            return self._statistics(tx, days, now)

    def look_now(self) -> None:
        """Have the next question look for changes, however short ago the last one did."""
        with self._lock:
            self._look_again = 0.0
        self._drift.forget()

    def drift(self, now: datetime) -> Drift | None:
        """How far the scores of the last thirty days have moved; None while that cannot be said.

        Raises
        ------
        StoreUnavailable
        """
        return self._drift.get(lambda: _alarming(self.statistics(DRIFT_DAYS, now)))

    def _statistics(self, tx: Transaction, days: int, now: datetime) -> Statistics:
        last = now.astimezone(UTC).date()
        first = last - timedelta(days=days - 1)
        self._look(tx, first - timedelta(days=days), last, now)
        window = list(self._window(first, last))
        before = self._window(first - timedelta(days=days), first - timedelta(days=1))
        bundle = bundles.in_use(tx)
        reference = reference_on_record(bundle.manifest) if bundle else None
        scores, made = self._compared(tx, bundle, reference, window) if bundle else (None, None)
        site = site_figures(window, now - figures.start_of(first))
        origins_before = sum((day.origins for _, day in before), start=Counter[str]())
        return Statistics(
            figures=site,
            scores=scores,
            made=made,
            origins=compare_origins(site.origins, origins_before, f"the {days} days before"),
            bundle=bundle.label if bundle else None,
            reference=reference,
            as_of=self._looked_at or now,
        )

    def _compared(
        self, tx: Transaction, bundle: BundleOnRecord, reference: ReferenceScores | None, window: list[tuple[date, Day]]
    ) -> tuple[Comparison | None, Comparison | None]:
        """The scores against what may alarm, and against made heads."""
        if reference is None:
            return self._since_the_beginning(tx, bundle.label, window), None
        against = "made heads, the reference of the bundle" if reference.synthetic else "the reference of the bundle"
        days = [day for _, day in window]
        found = compare_scores(days, bundle.label, reference.edges, reference.proportions, reference.n, against)
        return (self._since_the_beginning(tx, bundle.label, window), found) if reference.synthetic else (found, None)

    def _since_the_beginning(self, tx: Transaction, bundle: str, window: list[tuple[date, Day]]) -> Comparison | None:
        beginning = self._beginning(tx, bundle)
        if beginning is None:
            return None
        days = [day for date_, day in window if date_ >= beginning.after]
        against = f"the first {FIRST_STUDIES} studies that this bundle analysed here"
        return compare_scores(days, bundle, SITE_EDGES, shares(beginning.scores, SITE_EDGES), FIRST_STUDIES, against)

    def _beginning(self, tx: Transaction, bundle: str) -> _Beginning | None:
        kept = self._beginnings.get(bundle)
        if kept is None or time.monotonic() > kept[0]:
            scores, last_at = figures.first_scores(tx, bundle, FIRST_STUDIES)
            whole = last_at is not None and len(scores) == FIRST_STUDIES
            begun = _Beginning(scores, last_at.date() + timedelta(days=1)) if last_at and whole else None
            kept = (time.monotonic() + KEPT_SECONDS, begun)
            self._beginnings[bundle] = kept
        return kept[1]

    def _look(self, tx: Transaction, first: date, last: date, now: datetime) -> None:
        """Have every day of the span in memory, as it was at most a moment ago."""
        started = time.monotonic()
        if started >= self._look_again:
            if self._looked_at is not None:
                # The clock may have been set back since the last look.
                for day in figures.days_changed(tx, min(self._looked_at, now) - OVERLAP):
                    self._days.pop(day, None)
            self._looked_at = now
        missing = [day for day in _span(first, last) if day not in self._days]
        for run in _runs(missing):
            until = run[-1] + timedelta(days=1)
            found = _by_day(figures.studies_received(tx, run[0], until))
            self._days.update({day: found.get(day, Day()) for day in run})
        if missing or started >= self._look_again:
            cost = time.monotonic() - started
            self._look_again = time.monotonic() + LOOK_SECONDS + LOOK_COST * cost

    def _window(self, first: date, last: date) -> Iterator[tuple[date, Day]]:
        for day in _span(first, last):
            yield day, self._days[day]


def _alarming(found: Statistics) -> Drift | None:
    if found.scores is None or found.scores.index is None:
        return None
    return Drift(found.scores.index, found.scores.limit)


def _by_day(rows: Iterable[StudyFigures]) -> dict[date, Day]:
    days: defaultdict[int, Day] = defaultdict(Day)
    scores: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
    opened: defaultdict[tuple[int, WorklistStatus], list[float]] = defaultdict(list)
    for shift, status, verdict, score, bundle, seconds, scanner, thickness in rows:
        number, third = divmod(shift, SHIFTS_A_DAY)
        day = days[number]
        day.studies[third, status, verdict] += 1
        day.origins[origin(scanner, thickness)] += 1
        if score is not None and bundle is not None:
            scores[number, bundle].append(score)
        if seconds is not None:
            opened[number, status].append(seconds)
    for (number, label), values in scores.items():
        days[number].scores[label] = np.asarray(values, np.float64)
    for (number, status), values in opened.items():
        days[number].opened_seconds[status] = np.asarray(values, np.float64)
    return {figures.day_of_shift(number * SHIFTS_A_DAY): day for number, day in days.items()}


def _span(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def _runs(days: list[date]) -> Iterator[list[date]]:
    """Cut ascending days into runs that have no gap."""
    run: list[date] = []
    for day in days:
        if run and day - run[-1] > timedelta(days=1):
            yield run
            run = []
        run.append(day)
    if run:
        yield run
