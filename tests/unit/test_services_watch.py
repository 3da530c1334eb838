"""What the banner is told, from the stores."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from structlog.testing import capture_logs

from tests.stores import NOW, at, finish, queued, result, running
from triage.domain.downtime import DATABASE_DOWN, AlarmCode, Heartbeat
from triage.domain.errors import StoreUnavailable
from triage.services.figures import DRIFT_DAYS, WINDOWS_DAYS, Ledger, Statistics
from triage.services.watch import Disk, Watch
from triage.store import bundle_slots, bundles, heartbeats, links, shadow_results
from triage.store.bundle_slots import ChosenBundle, Slot
from triage.store.db import Database
from triage.store.folder_area import FolderArea

ROLES = ("listen", "work", "clock", "send")


def beat(db: Database, role: str, seconds: float, host: str = "host", **detail: object) -> None:
    with db.transaction() as tx:
        heartbeats.beat(tx, Heartbeat(f"{host}/1/{role}", role, NOW, at(seconds), detail=detail))


def codes(db: Database, blobs: FolderArea, seconds: float) -> list[AlarmCode]:
    return [alarm.code for alarm in Watch(db, blobs, Ledger(db)).alarms(at(seconds))]


def test_a_worker_that_hangs_in_a_job_shows_by_what_waits_behind_it(database: Database, tmp_path: Path) -> None:
    blobs = FolderArea(tmp_path)
    queued(database, now=at(0))
    for role in ROLES:
        beat(database, role, 595)
    assert codes(database, blobs, 600) == []
    for role in ROLES:
        beat(database, role, 600)
    assert codes(database, blobs, 601) == [AlarmCode.QUEUE]
    assert Watch(database, blobs, Ledger(database)).operations(at(601)).counts.queue[0].oldest_at == at(0)


def test_links_count_while_a_sender_has_the_destination(database: Database, tmp_path: Path) -> None:
    with database.transaction() as tx:
        links.down(tx, "pacs", "refused", at(0))
        links.down(tx, "old", "refused", at(0))
    for role in ("listen", "work", "clock"):
        beat(database, role, 1)
    beat(database, "send", 1, destinations=["pacs", "other"])
    assert codes(database, FolderArea(tmp_path), 2) == [AlarmCode.LINK]
    assert [
        link.destination for link in Watch(database, FolderArea(tmp_path), Ledger(database)).operations(NOW).links
    ] == ["pacs"]


def test_the_floor_is_the_listener_s(database: Database, tmp_path: Path) -> None:
    for role in ROLES:
        beat(database, role, 1)
    assert codes(database, FolderArea(tmp_path), 2) == []
    beat(database, "listen", 1, min_free_bytes=10**18)
    assert codes(database, FolderArea(tmp_path), 2) == [AlarmCode.DISK]


def test_what_a_process_that_is_gone_was_set_to_counts_no_more(database: Database, tmp_path: Path) -> None:
    """A container that is made anew is another host; what its predecessor said is remembered for days."""
    blobs = FolderArea(tmp_path)
    with database.transaction() as tx:
        links.down(tx, "pacs", "refused", at(0))
        links.down(tx, "old", "refused", at(0))
    beat(database, "listen", 1, "before", min_free_bytes=10**18)
    beat(database, "send", 1, "before", destinations=["pacs", "old"])
    for role in ("work", "clock"):
        beat(database, role, 21)
    beat(database, "listen", 21, min_free_bytes=0)
    beat(database, "send", 21, destinations=["pacs"])
    beat(database, "send", 21, "beside", destinations=["other"])
    now = Watch(database, blobs, Ledger(database)).alarms(at(22))
    assert [(alarm.code, "pacs" in alarm.title + alarm.reason) for alarm in now] == [(AlarmCode.LINK, True)]
    assert [link.destination for link in Watch(database, blobs, Ledger(database)).operations(at(22)).links] == ["pacs"]


def test_where_no_sender_and_no_listener_runs_the_last_ones_count(database: Database, tmp_path: Path) -> None:
    with database.transaction() as tx:
        links.down(tx, "pacs", "refused", at(0))
        links.down(tx, "old", "refused", at(0))
    beat(database, "listen", 1, "before", min_free_bytes=0)
    beat(database, "send", 1, "before", destinations=["old"])
    beat(database, "listen", 2, min_free_bytes=10**18)
    beat(database, "send", 2, destinations=["pacs"])
    watch = Watch(database, FolderArea(tmp_path), Ledger(database))
    assert [link.destination for link in watch.operations(at(60)).links] == ["pacs"]
    assert AlarmCode.DISK in [alarm.code for alarm in watch.alarms(at(60))]


def test_a_file_area_that_cannot_be_seen_is_no_failure(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    now = Watch(database, FolderArea(tmp_path / "file"), Ledger(database)).operations(NOW)
    assert now.disk is None


def test_a_database_without_tables_is_an_alarm(empty_database_url: str, tmp_path: Path) -> None:
    db = Database(empty_database_url)
    assert Watch(db, FolderArea(tmp_path), Ledger(db)).alarms(NOW) == [DATABASE_DOWN]
    db.dispose()


def test_a_ledger_that_is_not_answered_is_an_alarm(database: Database, tmp_path: Path) -> None:
    class Broken(Ledger):
        def drift(self, now: object) -> None:  # type: ignore[override]
            raise StoreUnavailable("SYNTHETIC: no answer.")

    assert Watch(database, FolderArea(tmp_path), Broken(database)).alarms(NOW) == [DATABASE_DOWN]


def test_what_a_shadow_said_since_it_was_chosen_is_compared(database: Database, tmp_path: Path) -> None:
    watch = Watch(database, FolderArea(tmp_path), Ledger(database))
    assert watch.operations(at(0)).compared is None
    first, second = (ChosenBundle(Slot.SHADOW, digest * 32, "there", at(1), "person") for digest in ("cd", "ef"))
    for chosen, score, number in ((first, 0.1, 2), (second, 0.9, 3)):
        with database.transaction() as tx:
            bundle_slots.choose(tx, chosen, {})
            bundles.record(tx, digest=chosen.digest, name=f"site-{number}", version="2", manifest={}, now=at(1))
        finish(database, running(database, now=at(number), study=f"2.25.{number}", series_uid=f"2.25.{number}.1"))
        with database.transaction() as tx:
            about = shadow_results.next_unshadowed(tx, chosen.digest, at(-1))
            assert about is not None
            label = f"site-{number} 2"
            shadow_results.record(tx, about, result(score), bundle_digest=chosen.digest, bundle=label, now=at(5))
        now = watch.operations(at(6))
        assert now.labels == {chosen.digest: label}
        assert now.compared is not None
        assert now.compared.shadow == chosen
        assert now.compared.pairs[0].shadow == label
    (pair, before) = now.compared.pairs
    assert (pair.n, pair.both, pair.only_active, before.only_active) == (1, 1, 0, 1)


def test_the_statistics_are_counted_before_anybody_asks(database: Database, tmp_path: Path) -> None:
    asked: list[int] = []

    class Asked(Ledger):
        def statistics(self, days: int, now: datetime) -> Statistics:
            asked.append(days)
            return super().statistics(days, now)

    Watch(database, FolderArea(tmp_path), Asked(database)).look_ahead(NOW)
    assert asked == [DRIFT_DAYS, max(WINDOWS_DAYS)]


def test_a_database_that_does_not_answer_is_left_to_those_who_ask(empty_database_url: str, tmp_path: Path) -> None:
    db = Database(empty_database_url)
    with capture_logs() as logged:
        Watch(db, FolderArea(tmp_path), Ledger(db)).look_ahead(NOW)
    db.dispose()
    assert [line["event"] for line in logged] == ["not_looked_ahead"]


def test_room_lasts_for_what_is_above_the_floor() -> None:
    assert Disk(free_bytes=12, floor_bytes=2, received_bytes=5).days_left == 2.0
    assert Disk(free_bytes=1, floor_bytes=2, received_bytes=5).days_left == 0.0
    assert Disk(free_bytes=12, floor_bytes=2, received_bytes=0).days_left is None
