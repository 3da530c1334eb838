"""The file area: bytes under names that we draw ourselves, kept before anything points to them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

KEY = re.compile(r"^[0-9a-f]{2}/[0-9a-f]{32}\.(dcm|part)$")
"""Names of our files. ``.part`` is one that a crash left unfinished: nobody was told that it was kept."""

ASIDE = "orphans"
"""Beside the others: finished files that no row names. Nothing here reads or removes what lies there."""


class FileArea(Protocol):
    """Files that are written once, ``ab/<32 hexadecimal digits>.dcm``: in a folder or in a bucket.

    Everything raises ``StoreUnavailable`` where the whole file area does not answer, and ``ValueError`` for a key that
    is none of ours.
    """

    def put(self, content: bytes) -> str:
        """Write a new file and return its key, once it would survive a power cut.

        Raises
        ------
        OutOfSpace
            There is no room for it. Nothing is left behind.
        """
        ...

    def read(self, key: str) -> bytes:
        """The whole file.

        Raises
        ------
        NotFound
            The file is gone, or it alone cannot be read; a row that names it cannot be served.
        """
        ...

    def holds(self, key: str) -> bool:
        """Whether the file of this key is there."""
        ...

    def where(self, key: str) -> str:
        """Where the file of this key lies, or would lie, for people."""
        ...

    def remove(self, key: str) -> None:
        """Remove a file; one that is gone already is no error."""
        ...

    def set_aside(self, key: str) -> None:
        """Move a finished file under ``orphans``, where people find it; remove one that was never finished."""
        ...

    def free_bytes(self) -> int | None:
        """Bytes that can still be written; None where the file area has no bound that it could tell."""
        ...

    def keys_older_than(self, instant: datetime) -> Iterator[str]:
        """Keys of all files last written before this instant, unfinished ones too; files of others are left alone."""
        ...

    def folder(self, name: str) -> Path:
        """A folder that `keep_folder` kept, as one on this machine; there is nothing in it where none was kept."""
        ...

    def keep_folder(self, name: str, source: Path, is_whole: Callable[[Path], bool]) -> bool:
        """Keep a copy of a folder under a name, in place of what has this name.

        Parameters
        ----------
        is_whole : callable
            Looks at the copy; one that is not whole takes nobody's place.

        Returns
        -------
        bool
            Whether it was whole.

        Raises
        ------
        OutOfSpace
            It cannot be written.
        """
        ...


def new_key() -> str:
    """The key of a file that is not there yet."""
    name = uuid.uuid4().hex
    return f"{name[:2]}/{name}.dcm"


def known_key(key: str) -> str:
    """The key itself.

    Raises
    ------
    ValueError
        It is none of ours.
    """
    if not KEY.match(key):
        raise ValueError(f"{key!r} is no key of the file area")
    return key
