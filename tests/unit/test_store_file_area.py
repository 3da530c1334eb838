"""What a folder and a bucket both promise of the file area."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.object_stores import BUCKET, object_store
from tests.stores import receive
from triage.domain.errors import NotFound
from triage.entrypoints.app import open_file_area
from triage.store import instances
from triage.store.db import Database
from triage.store.file_area import FileArea

LATER = datetime.now(UTC) + timedelta(days=1)
EARLIER = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture(params=["folder", "bucket"])
def area(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileArea]:
    """A file area that is empty."""
    if request.param == "folder":
        yield open_file_area(tmp_path / "new" / "blobs")
        return
    with object_store(monkeypatch):
        yield open_file_area(f"s3://{BUCKET}/site-1")


def test_bytes_come_back_as_they_were(area: FileArea) -> None:
    for content in (b"", b"DICM", os.urandom(3_000_000)):
        key = area.put(content)
        assert area.holds(key)
        assert area.read(key) == content
        assert area.where(key).endswith(f"/{key}")


def test_keys_are_ours_and_never_the_same(area: FileArea) -> None:
    keys = {area.put(b"same") for _ in range(20)}
    assert len(keys) == 20
    for key in keys:
        folder, name = key.split("/")
        assert name.startswith(folder)
        assert len(name) == len("0" * 32 + ".dcm")


@pytest.mark.parametrize("key", ["../etc/passwd", "/etc/passwd", "ab/../../x.dcm", "ab/" + "0" * 32 + ".txt", ""])
def test_a_key_from_elsewhere_is_none(area: FileArea, key: str) -> None:
    for act in (area.where, area.read, area.holds, area.remove, area.set_aside):
        with pytest.raises(ValueError, match="no key"):
            act(key)


def test_a_file_that_is_gone_says_so(area: FileArea) -> None:
    key = area.put(b"x")
    area.remove(key)
    area.remove(key)
    assert not area.holds(key)
    with pytest.raises(NotFound, match=f"{key} is gone"):
        area.read(key)


def test_a_file_without_a_row_is_what_a_crash_leaves_and_the_sweep_finds(database: Database, area: FileArea) -> None:
    kept = area.put(b"with a row")
    orphan = area.put(b"the process was killed before its commit")
    with database.transaction() as tx:
        record = receive(tx, 1)
        instances.add_conflict(
            tx, sop_instance_uid="1", digest="d", blob_key=kept, association_id="a1", now=record.received_at
        )
    assert list(area.keys_older_than(EARLIER)) == []
    found = list(area.keys_older_than(LATER))
    with database.read() as tx:
        known = instances.blob_keys_known(tx, found)
    assert set(found) - known == {orphan}
    area.set_aside(orphan)
    area.set_aside(orphan)  # another clock was faster
    assert list(area.keys_older_than(LATER)) == [kept]


def test_a_folder_is_kept_whole_or_not_at_all(area: FileArea, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "card.md").write_text("what it is")
    assert not area.folder("bundles/d1").exists()
    assert area.keep_folder("bundles/d1", source, lambda copy: (copy / "card.md").read_text() == "what it is")
    assert (area.folder("bundles/d1") / "card.md").read_text() == "what it is"
    assert not area.keep_folder("bundles/d2", source, lambda _: False)
    assert list(area.keys_older_than(LATER)) == []


def test_many_may_write_at_once(area: FileArea) -> None:
    kept: list[str] = []

    def write() -> None:
        kept.extend(area.put(bytes([number])) for number in range(25))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(kept)) == 100
    assert all(len(area.read(key)) == 1 for key in kept)
