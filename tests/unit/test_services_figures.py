"""The ledger of days says what counting the rows anew would say, and sees every change."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from tests import many_studies
from triage.domain.downtime import Heartbeat
from triage.domain.figures import FIRST_STUDIES
from triage.domain.finding import WorklistStatus
from triage.domain.reading import Verdict
from triage.services.figures import Ledger
from triage.store import bundles, heartbeats
from triage.store.db import Database
from triage.store.folder_area import FolderArea
from triage.store.schema import worklist

NOW = datetime(2026, 11, 21, 13, 30, tzinfo=UTC)
REFERENCE = {"edges": [0.0, 0.5, 1.0], "proportions": [0.9, 0.1], "n": 4000, "data": "a test set", "synthetic": False}


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Database:
    """Three hundred studies over twenty days."""
    many_studies.insert(database, FolderArea(tmp_path / "blobs"), 300, now=NOW, days=20.0)
    return database


def loaded(db: Database, manifest: dict[str, Any], *, version: str = "1.0", digest: str = many_studies.DIGEST) -> None:
    with db.transaction() as tx:
        bundles.record(tx, digest=digest, name="made-up", version=version, manifest=manifest, now=NOW)


def rows(db: Database, days: int) -> list[Any]:
    first = datetime(2026, 11, 21, tzinfo=UTC) - timedelta(days=days - 1)
    with db.read() as tx:
        return list(tx.connection.execute(select(worklist).where(worklist.c.received_at >= first)))


def test_the_figures_are_those_of_the_rows(site: Database) -> None:
    found = Ledger(site).statistics(7, NOW).figures
    counted = rows(site, 7)
    assert counted
    assert Counter(found.by_status) == Counter(row.status for row in counted)
    assert Counter(found.verdicts) == Counter((row.status, row.verdict) for row in counted)
    for status in (WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED):
        waits = [row.opened_at - row.received_at for row in counted if row.status is status and row.opened_at]
        assert found.opened[status].n == len(waits)
        middle = sorted(wait.total_seconds() for wait in waits)[len(waits) // 2]
        median = found.opened[status].median_seconds
        assert median is not None
        assert len(waits) % 2 == 0 or median == pytest.approx(middle, abs=1e-3)
    by_hour = Counter(row.received_at.hour // 8 for row in counted if row.status is WorklistStatus.SUSPECTED)
    assert [shift.flagged for shift in found.by_shift] == [by_hour[number] for number in range(3)]
    assert (found.first.isoformat(), found.last.isoformat()) == ("2026-11-15", "2026-11-21")
    assert sum(found.origins.values()) == len(counted)


def test_a_judgement_shows_with_the_next_look(site: Database) -> None:
    ledger = Ledger(site)
    before = ledger.statistics(30, NOW).figures
    later = NOW + timedelta(minutes=5)
    flagged = next(row for row in rows(site, 20) if row.status is WorklistStatus.SUSPECTED and row.verdict is None)
    with site.transaction() as tx:
        mine = worklist.c.study_instance_uid == flagged.study_instance_uid
        tx.connection.execute(update(worklist).where(mine).values(verdict=Verdict.DISAGREE, updated_at=later))
    ledger.look_now()
    after = ledger.statistics(30, later).figures
    assert after.false_flags == before.false_flags + 1
    assert after.predictive_value.n == before.predictive_value.n + 1
    assert after.studies == before.studies


def test_what_is_written_after_the_clock_was_set_back_shows(site: Database) -> None:
    ledger = Ledger(site)
    before = ledger.statistics(30, NOW).figures
    earlier = NOW - timedelta(hours=1)
    with site.transaction() as tx:
        flagged = worklist.c.status == WorklistStatus.SUSPECTED
        tx.connection.execute(update(worklist).where(flagged).values(verdict=Verdict.DISAGREE, updated_at=earlier))
    ledger.look_now()
    after = ledger.statistics(30, earlier + timedelta(seconds=5)).figures
    assert after.false_flags == after.by_status[WorklistStatus.SUSPECTED] > before.false_flags


def test_a_new_study_and_a_new_day_show(site: Database, tmp_path: Path) -> None:
    ledger = Ledger(site)
    before = ledger.statistics(30, NOW).figures.studies
    tomorrow = NOW + timedelta(days=1)
    many_studies.insert(site, FolderArea(tmp_path / "blobs"), 5, now=tomorrow, days=0.2, seed=2)
    ledger.look_now()
    found = ledger.statistics(30, tomorrow).figures
    assert found.studies == before + 5
    assert found.last.isoformat() == "2026-11-22"
    assert ledger.statistics(7, NOW).figures.last.isoformat() == "2026-11-21"


def test_an_empty_site_has_figures_of_nothing(database: Database) -> None:
    found = Ledger(database).statistics(90, NOW)
    assert found.figures.studies == 0
    assert (found.scores, found.bundle, found.reference) == (None, None, None)
    assert found.origins.index is None
    assert Ledger(database).drift(NOW) is None


def test_without_a_reference_and_with_too_few_studies_nothing_is_compared(site: Database) -> None:
    loaded(site, {"name": "made-up"})
    found = Ledger(site).statistics(30, NOW)
    assert found.bundle == "made-up 1.0"
    assert found.scores is None


def test_a_bundle_with_a_reference_is_compared_with_it(site: Database) -> None:
    loaded(site, {"reference": REFERENCE})
    found = Ledger(site).statistics(30, NOW).scores
    assert found is not None
    assert found.expected_n == 4000
    assert found.against == "the reference of the bundle"
    scores = [row.score for row in rows(site, 30) if row.score is not None]
    assert found.counts == [sum(score < 0.5 for score in scores), sum(score >= 0.5 for score in scores)]
    drift = Ledger(site).drift(NOW)
    assert drift is not None
    assert drift.index == found.index


def test_a_synthetic_reference_is_called_so_and_raises_no_alarm(site: Database) -> None:
    loaded(site, {"reference": {**REFERENCE, "proportions": [0.1, 0.9], "synthetic": True}})
    found = Ledger(site).statistics(30, NOW)
    assert found.made is not None
    assert found.made.exceeded
    assert "made heads" in found.made.against
    assert found.scores is None
    assert Ledger(site).drift(NOW) is None


@pytest.mark.parametrize("manifest", [{}, {"reference": {**REFERENCE, "synthetic": True}}], ids=["none", "made heads"])
def test_scores_that_move_away_from_the_site_s_beginning_raise_the_alarm(
    database: Database, tmp_path: Path, manifest: dict[str, Any]
) -> None:
    many_studies.insert(database, FolderArea(tmp_path / "blobs"), FIRST_STUDIES + 300, now=NOW, days=40.0)
    loaded(database, manifest)
    quiet = Ledger(database).drift(NOW)
    assert quiet is not None
    assert not quiet.exceeded
    with database.transaction() as tx:
        recent = worklist.c.received_at > NOW - timedelta(days=10), worklist.c.score.is_not(None)
        tx.connection.execute(update(worklist).where(*recent).values(score=0.45))
    found = Ledger(database)
    drift, scores = found.drift(NOW), found.statistics(30, NOW).scores
    assert drift is not None
    assert drift.exceeded
    assert scores is not None
    assert f"first {FIRST_STUDIES} studies" in scores.against


def test_the_bundle_in_use_is_what_a_worker_says(database: Database) -> None:
    loaded(database, {}, version="1.0", digest="aa")
    loaded(database, {}, version="2.0", digest="bb")
    with database.transaction() as tx:
        heartbeats.beat(tx, Heartbeat("h/1/work", "work", NOW, NOW, detail={"digest": "aa"}))
    with database.read() as tx:
        in_use = bundles.in_use(tx)
        assert in_use is not None
        assert in_use.label == "made-up 1.0"
        assert bundles.on_record(tx, digest="cc") is None
