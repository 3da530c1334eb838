"""The file area as a folder: every file, its name and its folder on the disk before its key is given away."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from triage.domain.errors import NotFound, OutOfSpace, StoreUnavailable
from triage.store.file_area import ASIDE, KEY, FileArea, known_key, new_key

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FolderArea(FileArea):
    """A folder, on a disk of this machine or on a shared file system that keeps fsync and rename."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._named: set[Path] = set()
        """Folders whose name this process knows to be on the disk."""

    def put(self, content: bytes) -> str:
        """Write a new file and return its key, once the disk has it: file, name and folder."""
        key = new_key()
        final = self.path(key)
        unfinished = final.with_suffix(".part")
        with _translated():
            self._make_ready(final.parent)
            try:
                _write(unfinished, content)
                unfinished.rename(final)
            except OSError:
                unfinished.unlink(missing_ok=True)
                raise
            _sync(final.parent)
        return key

    def read(self, key: str) -> bytes:
        """The whole file."""
        with _translated():
            try:
                return self.path(key).read_bytes()
            except FileNotFoundError as exc:
                raise NotFound(f"The file {key} is gone from the file area; restore it from a backup.") from exc
            except OSError as exc:
                if exc.errno in _FULL or not self._answers():
                    raise
                why = exc.strerror or type(exc).__name__
                raise NotFound(f"The file {key} cannot be read: {why}; put it right or restore it.") from exc

    def holds(self, key: str) -> bool:
        """Whether the file of this key is there."""
        with _translated():
            return self.path(key).is_file()

    def path(self, key: str) -> Path:
        """Where the file of this key lies, or would lie."""
        return self.root / known_key(key)

    def where(self, key: str) -> str:
        """The path, as text."""
        return str(self.path(key))

    def remove(self, key: str) -> None:
        """Remove a file; one that is gone already is no error."""
        with _translated():
            self.path(key).unlink(missing_ok=True)

    def set_aside(self, key: str) -> None:
        """Move a finished file under ``orphans``; remove one that was never finished."""
        if key.endswith(".part"):
            self.remove(key)
            return
        aside = self.root / ASIDE / key
        with _translated():
            _make_folder(aside.parent)
            with suppress(FileNotFoundError):  # another clock was faster
                self.path(key).rename(aside)
            _sync(aside.parent)

    def free_bytes(self) -> int:
        """What the disk has left."""
        with _translated():
            self._make_ready(self.root)
            return shutil.disk_usage(self.root).free

    def keys_older_than(self, instant: datetime) -> Iterator[str]:
        """Keys of all files last written before this instant, folder by folder."""
        with _translated():
            folders = sorted(self.root.glob("[0-9a-f][0-9a-f]"))
        for folder in folders:
            with _translated():
                keys = [f"{folder.name}/{entry.name}" for entry in os.scandir(folder) if _is_older(entry, instant)]
            yield from sorted(key for key in keys if KEY.match(key))

    def folder(self, name: str) -> Path:
        """The folder itself."""
        return self.root / name

    def keep_folder(self, name: str, source: Path, is_whole: Callable[[Path], bool]) -> bool:
        """Copy a folder; the copy appears whole or not at all."""
        place = self.folder(name)
        unfinished = place.with_name(f"{uuid.uuid4().hex}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, unfinished, copy_function=shutil.copyfile)
            for written in [*unfinished.iterdir(), unfinished]:
                written.chmod(0o755 if written.is_dir() else 0o644)  # who keeps it is seldom who reads it
                _sync(written)
            if not is_whole(unfinished):
                return False
            shutil.rmtree(place, ignore_errors=True)  # a damaged copy
            unfinished.rename(place)
            _sync(place.parent)
        except OSError as exc:
            why = exc.strerror or type(exc).__name__
            raise OutOfSpace(f"{source} cannot be copied to {place}: {why}.") from exc
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return True

    def _answers(self) -> bool:
        """Whether the root can be listed, and the disk or server that holds it be asked: a list may be remembered."""
        try:
            with os.scandir(self.root) as entries:
                next(entries, None)
            os.statvfs(self.root)
        except OSError:
            return False
        return True

    def _make_ready(self, folder: Path) -> None:
        """Make the root or a folder in it, with its name on the disk.

        One that is there already may be that of a process that was killed before it synced the name.
        """
        if folder in self._named and folder.is_dir():
            return
        if folder == self.root:
            _make_folder(folder.parent)
        else:
            self._make_ready(self.root)
        folder.mkdir(mode=0o750, exist_ok=True)
        # Where we cannot write, nobody of us made it; and there we may not be able to look either.
        if os.access(folder.parent, os.W_OK):
            _sync(folder.parent)
        self._named.add(folder)


def _is_older(entry: os.DirEntry[str], instant: datetime) -> bool:
    try:
        return entry.stat().st_mtime < instant.timestamp()
    except FileNotFoundError:  # removed since the folder was listed
        return False


def _make_folder(folder: Path) -> None:
    """Make a folder that survives a power cut: its parent is synced, and so are the parents made with it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o750, exist_ok=True)
    _sync(folder.parent)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        os.fsync(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise OutOfSpace("The disk of the file area is full: free some space.") from exc
        raise StoreUnavailable(f"The file area cannot be used: {exc.strerror or type(exc).__name__}.") from exc
