"""The file area: bytes under names that we draw ourselves, on the disk before anything points to them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from triage.domain.errors import NotFound, OutOfSpace, StoreUnavailable

_KEY = re.compile(r"^[0-9a-f]{2}/[0-9a-f]{32}\.(dcm|part)$")
ASIDE = "orphans"
"""Folder beside the others for finished files that no row names. Nothing here reads or removes what lies in it."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BlobStore:
    """A folder of files that are written once, ``ab/<32 hexadecimal digits>.dcm``.

    ``.part`` is a file that was not finished: a crash leaves it, and nobody was told that it was kept.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._named: set[Path] = set()
        """Folders whose name this process knows to be on the disk."""

    def put(self, content: bytes) -> str:
        """Write a new file and return its key, once the disk has it: file, name and folder.

        Raises
        ------
        OutOfSpace
            The disk is full. Nothing is left behind.
        StoreUnavailable
            The folder cannot be written.
        """
        name = uuid.uuid4().hex
        folder = self.root / name[:2]
        final, unfinished = folder / f"{name}.dcm", folder / f"{name}.part"
        with _translated():
            self._make_ready(folder)
            try:
                _write(unfinished, content)
                unfinished.rename(final)
            except OSError:
                unfinished.unlink(missing_ok=True)
                raise
            _sync_folder(folder)
        return f"{name[:2]}/{name}.dcm"

    def read(self, key: str) -> bytes:
        """The whole file.

        Raises
        ------
        NotFound
            The file is gone, or it alone cannot be read; a row that names it cannot be served.
        StoreUnavailable
            The whole file area does not answer.
        """
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
        """Whether the file of this key is there.

        Raises
        ------
        StoreUnavailable
            It cannot be told.
        """
        with _translated():
            return self.path(key).is_file()

    def path(self, key: str) -> Path:
        """Where the file of this key lies, or would lie."""
        if not _KEY.match(key):
            raise ValueError(f"{key!r} is no key of the file area")
        return self.root / key

    def remove(self, key: str) -> None:
        """Remove a file; one that is gone already is no error."""
        with _translated():
            self.path(key).unlink(missing_ok=True)

    def set_aside(self, key: str) -> None:
        """Move a finished file under ``orphans``, where people find it; remove one that was never finished."""
        if key.endswith(".part"):
            self.remove(key)
            return
        aside = self.root / ASIDE / key
        with _translated():
            _make_folder(aside.parent)
            with suppress(FileNotFoundError):  # another clock was faster
                self.path(key).rename(aside)
            _sync_folder(aside.parent)

    def free_bytes(self) -> int:
        """Bytes that can still be written."""
        with _translated():
            self._make_ready(self.root)
            return shutil.disk_usage(self.root).free

    def keys_older_than(self, instant: datetime) -> Iterator[str]:
        """Keys of all files last written before this instant, unfinished ones too; files of others are left alone."""
        with _translated():
            folders = sorted(self.root.glob("[0-9a-f][0-9a-f]"))
        for folder in folders:
            with _translated():
                keys = [f"{folder.name}/{entry.name}" for entry in os.scandir(folder) if _is_older(entry, instant)]
            yield from sorted(key for key in keys if _KEY.match(key))

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
            _sync_folder(folder.parent)
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
    _sync_folder(folder.parent)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor, not a path
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
