"""The file area: on the disk before anything points to it, and nothing lost in a crash that the sweep cannot see."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from triage.domain.errors import NotFound, OutOfSpace, StoreUnavailable
from triage.store.folder_area import FolderArea

LATER = datetime.now(UTC) + timedelta(days=1)
EARLIER = datetime.now(UTC) - timedelta(days=1)


def _opened(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def _synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What is synced from now on."""
    synced: list[Path] = []
    sync = os.fsync

    def traced(descriptor: int) -> None:
        synced.append(_opened(descriptor))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", traced)
    return synced


@pytest.fixture
def blobs(tmp_path: Path) -> FolderArea:
    """A file area whose folder does not exist yet."""
    return FolderArea(tmp_path / "new" / "blobs")


def test_a_file_is_for_us_and_our_group(blobs: FolderArea) -> None:
    assert blobs.path(blobs.put(b"x")).stat().st_mode & 0o777 == 0o640


def test_one_file_that_cannot_be_read_is_not_the_whole_file_area(blobs: FolderArea) -> None:
    key, other = blobs.put(b"x"), blobs.put(b"y")
    blobs.remove(key)
    blobs.path(key).mkdir()  # a folder in its place fails for every user, as a damaged block does
    with pytest.raises(NotFound, match=f"{key} cannot be read: Is a directory"):
        blobs.read(key)
    assert blobs.read(other) == b"y"


def test_a_file_area_that_cannot_be_listed_is_away(blobs: FolderArea) -> None:
    key = blobs.put(b"x")
    shutil.rmtree(blobs.root)
    blobs.root.write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="Not a directory"):
        blobs.read(key)


def test_file_name_and_folder_are_synced_before_the_key_is_given(
    blobs: FolderArea, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def traced_sync(descriptor: int) -> None:
        done.append(f"sync {_opened(descriptor).name[-5:]}")
        sync(descriptor)

    def traced_rename(source: Path, target: Path) -> Path:
        done.append("rename")
        return rename(source, target)

    monkeypatch.setattr(os, "fsync", traced_sync)
    monkeypatch.setattr(Path, "rename", traced_rename)
    blobs.root.mkdir(parents=True)
    key = blobs.put(b"x")
    assert done == ["sync new", "sync blobs", "sync .part", "rename", f"sync {key[:2]}"]


def test_new_folders_are_synced_up_to_one_that_was_there(blobs: FolderArea, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = _synced(monkeypatch)
    key = blobs.put(b"x")
    folders = [path for path in synced if path.is_dir()]
    assert folders == [blobs.root.parent.parent, blobs.root.parent, blobs.root, blobs.root / key[:2]]


def test_the_name_of_a_folder_that_another_process_made_is_synced_once(
    blobs: FolderArea, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one may have been killed before it synced it."""
    for name in range(256):
        (blobs.root / f"{name:02x}").mkdir(parents=True, exist_ok=True)
    synced = _synced(monkeypatch)
    keys = [blobs.put(b"x") for _ in range(100)]
    assert synced.count(blobs.root.parent) == 1
    assert synced.count(blobs.root) == len({key[:2] for key in keys}) < len(keys)


def test_folders_that_were_removed_meanwhile_are_made_again(blobs: FolderArea) -> None:
    for _ in range(2):
        for _ in range(100):
            assert blobs.read(blobs.put(b"x")) == b"x"
        shutil.rmtree(blobs.root)


def test_a_file_is_held_until_it_is_gone(blobs: FolderArea, tmp_path: Path) -> None:
    key = blobs.put(b"x")
    assert blobs.holds(key)
    blobs.path(key).unlink()
    assert not blobs.holds(key)
    assert not FolderArea(tmp_path / "elsewhere").holds(key)
    with pytest.raises(StoreUnavailable):
        FolderArea(tmp_path / ("x" * 300)).holds(key)


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, OutOfSpace), (errno.EDQUOT, OutOfSpace), (errno.EIO, StoreUnavailable)]
)
def test_a_disk_that_fails_leaves_nothing_behind(
    blobs: FolderArea, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    sync = os.fsync

    def fail(descriptor: int) -> None:
        if _opened(descriptor).suffix == ".part":
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(expected):
        blobs.put(b"x")
    monkeypatch.undo()
    assert list(blobs.root.iterdir())
    assert not list(blobs.root.rglob("*.part"))


def test_a_root_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_bytes(b"")
    blobs = FolderArea(tmp_path / "blobs")
    with pytest.raises(StoreUnavailable, match="file area"):
        blobs.put(b"x")


def test_free_space_is_that_of_the_disk(blobs: FolderArea) -> None:
    assert 0 < blobs.free_bytes() < 1 << 60
    assert blobs.root.is_dir()


def test_the_sweep_sees_old_files_and_unfinished_ones_only(blobs: FolderArea) -> None:
    assert list(blobs.keys_older_than(LATER)) == []
    old, new = blobs.put(b"old"), blobs.put(b"new")
    os.utime(blobs.path(old), (0, 0))
    unfinished = f"ab/{'0' * 32}.part"
    blobs.path(unfinished).parent.mkdir(exist_ok=True)
    blobs.path(unfinished).write_bytes(b"half")
    (blobs.root / "ab" / "notes.txt").write_text("not ours")
    (blobs.root / "lost+found").mkdir()
    assert list(blobs.keys_older_than(EARLIER)) == [old]
    assert set(blobs.keys_older_than(LATER)) == {old, new, unfinished}
    blobs.remove(unfinished)
    assert set(blobs.keys_older_than(LATER)) == {old, new}
