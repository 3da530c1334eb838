"""The study page and its slices over HTTP, nothing kept from before: a real head of 28 slices, and 300 thin ones."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.benchmarks.harness import Contender, Figures, Limit
from tests.builders import ct_series
from tests.conftest import SHARED_DATA
from tests.studies import installation, taken_in
from tests.web import Browser, make_desk, signed_in
from triage.domain.account import Role
from triage.store.db import upgrade
from triage.web.app import make_app
from triage.web.byte_cache import ByteCache
from triage.web.desk import PICTURE_BYTES

REAL, THIN = "real head, 28 slices", "300 thin slices"
FIRST, PAGE, NEXT, SMALL = "ms to the first slice", "ms to the page", "ms a slice, p95", "ms to the thumbnail"
LIMITS = (
    Limit(REAL, FIRST, 300.0),
    Limit(THIN, FIRST, 300.0),
    Limit(REAL, PAGE, 300.0),
    Limit(REAL, NEXT, 100.0),
)


def contenders() -> list[Contender]:
    """A usual series and one of thin slices, on SQLite."""
    return [Contender(REAL, lambda: _measure(_real())), Contender(THIN, lambda: _measure(_thin()))]


def _real() -> list[Dataset]:
    return [dcmread(path) for path in sorted((SHARED_DATA / "ge_head_tilt").glob("*.dcm"))]


def _thin() -> list[Dataset]:
    return ct_series(300, 512, 512, spacing_mm=0.45, thickness_mm=0.6, step_mm=0.6)


def _measure(series: Sequence[Dataset]) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        place, url = Path(folder), f"sqlite:///{folder}/triage.db"
        upgrade(url)
        with installation(url, place / "blobs") as site:
            row = taken_in(site, series)
            desk = make_desk(site.db, place)

            def reader() -> Browser:
                """Somebody on pages that have drawn nothing yet."""
                fresh = replace(desk, pictures=ByteCache(PICTURE_BYTES))
                browser = signed_in(make_app(fresh), "rad", Role.RADIOLOGIST)
                browser.get("/healthz")  # an app is put together by its first request
                return browser

            study = f"/study/{row.study_instance_uid}"
            key = f"{study}/slice/{row.key_slice.index if row.key_slice else 0}.png"
            for path in (key, study):
                _ms(reader(), path)  # what is imported and compiled once
            scrolling = reader()
            busy = time.process_time()
            first = _ms(scrolling, key)
            busy = time.process_time() - busy
            others = [_ms(scrolling, f"{study}/slice/{index}.png") for index in range(28)]
            return {
                FIRST: first,
                "of these on the CPU": busy * 1000,
                NEXT: statistics.quantiles(others, n=20)[-1],
                "ms a slice from memory": statistics.median(_ms(scrolling, key) for _ in range(20)),
                PAGE: _ms(reader(), study),
                SMALL: _ms(reader(), f"{study}/thumbnail.png"),
                "KB a slice": len(scrolling.get(key).content) / 1024,
            }


def _ms(browser: Browser, path: str) -> float:
    started = time.perf_counter()
    answer = browser.get(path)
    taken = time.perf_counter() - started
    if answer.status_code != 200:
        raise RuntimeError(f"{path} was answered {answer.status_code}")
    return taken * 1000
