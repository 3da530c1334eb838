"""Pages over 100,000 SYNTHETIC studies, asked for one after the other through the ASGI application."""

from __future__ import annotations

import atexit
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from tests.benchmarks.harness import Contender, Figures, Limit
from tests.many_studies import insert
from tests.services import PostgresCluster
from tests.web import Browser, Clock, make_desk, signed_in
from triage.domain.account import Role
from triage.store import reading_list
from triage.store.db import Database, upgrade
from triage.store.reading_list import EVERYTHING, Place
from triage.web.app import make_app

STUDIES = int(os.environ.get("PAGES_STUDIES", "100000"))
REQUESTS = 60
P50, P95 = "ms p50", "ms p95"
ENGINES = ("SQLite", "PostgreSQL")


@dataclass(frozen=True)
class Site:
    """A full database behind the pages, and what there is to look for in it."""

    browser: Browser
    accession_numbers: list[str]
    places: list[Place]

    def accession(self, number: int) -> str:
        """One accession number of many."""
        return self.accession_numbers[number % len(self.accession_numbers)]

    def place(self, number: int) -> Place:
        """One place deep in the list of many."""
        return self.places[number % len(self.places)]


PAGES: Mapping[str, Callable[[Site, int], str]] = {
    "worklist": lambda site, n: "/",
    "worklist, rows alone": lambda site, n: "/worklist/rows",
    "worklist, all": lambda site, n: "/?show=all",
    "worklist, deep page": lambda site, n: f"/?show=all&page={site.place(n)}",
    "worklist, filtered": lambda site, n: ("/?show=all&opened=no", "/?show=all&verdict=disagree&status=suspected")[
        n % 2
    ],
    "search, accession number": lambda site, n: f"/?q={site.accession(n)}",
    "search, its beginning": lambda site, n: f"/?q={site.accession(n)[:5]}",
    "api, 100 rows": lambda site, n: f"/api/worklist?cursor={site.place(n)}",
    "statistics": lambda site, n: "/statistics",
    "operations": lambda site, n: "/operations",
}
"""Every page that is measured: its name, and the address of the n-th request."""

_KEPT = ExitStack()
"""What is stopped and removed when the process ends."""

LIMITS = tuple(Limit(f"{page}, {engine}", P95, 200.0) for page in PAGES for engine in ENGINES)


def contenders() -> list[Contender]:
    """Every page on each database; a database is filled once, when it is first asked."""
    return [
        Contender(f"{page}, {engine}", lambda page=page, engine=engine: _measure(engine, page))  # type: ignore[misc]
        for page, engine in itertools.product(PAGES, ENGINES)
    ]


def _measure(engine: str, page: str) -> Figures:
    site = _site(engine)
    taken = sorted(_times(site, PAGES[page]))
    return {P50: statistics.median(taken), P95: taken[int(len(taken) * 0.95)]}


def _times(site: Site, address: Callable[[Site, int], str]) -> Iterator[float]:
    """Milliseconds of each request, after one that warms the caches."""
    for number in range(-1, REQUESTS):
        path = address(site, number)
        started = time.perf_counter()
        answer = site.browser.get(path)
        taken = 1e3 * (time.perf_counter() - started)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answered {answer.status_code}")
        if number >= 0:
            yield taken


@cache
def _site(engine: str) -> Site:
    atexit.register(_KEPT.close)
    folder = Path(_KEPT.enter_context(tempfile.TemporaryDirectory(prefix="ich-pages-")))
    db = Database(_database(engine, folder))
    _KEPT.callback(db.dispose)
    clock = Clock(datetime.now(UTC))
    desk = make_desk(db, folder, clock)
    insert(db, desk.blobs, STUDIES, now=clock.now)
    with db.read() as tx:
        every = list(reading_list.every(tx, clock.now, wanted=EVERYTHING, size=2000))
    sample = every[:: max(1, len(every) // 500)]
    return Site(
        browser=signed_in(make_app(desk), "boss", Role.ADMINISTRATOR),
        accession_numbers=[study.row.accession_number for study in sample],
        places=[Place(5, study.row.received_at, study.row.study_instance_uid) for study in sample],
    )


def _database(engine: str, folder: Path) -> str:
    if engine == "SQLite":
        url = f"sqlite:///{folder / 'triage.db'}"
    else:
        cluster = PostgresCluster()
        _KEPT.callback(cluster.stop)
        cluster.start()
        cluster.create("pages")
        url = cluster.url("pages")
    upgrade(url)
    return url
