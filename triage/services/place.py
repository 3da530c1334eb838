"""Files for what was made, before a row names them; none is left behind that no row came to name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from triage.domain.errors import StoreUnavailable
from triage.store import instances
from triage.store.db import Database
from triage.store.file_area import FileArea


@contextmanager
def placed(db: Database, blobs: FileArea, contents: Sequence[bytes]) -> Iterator[list[str]]:
    """The keys of new files with these contents, in their order, for a transaction inside to name.

    What it did not name is removed: an object that is on record already, that came too late, or whose transaction
    failed. Only when a store did not answer all stay, for the commit may have been made; the clock sets aside what no
    row names. Receiving does without this: it would be a question to the database for every instance.
    """
    keys: list[str] = []
    try:
        for content in contents:
            keys.append(blobs.put(content))  # noqa: PERF401 -- when one fails, those before it must be known
        yield keys
    except StoreUnavailable:
        raise
    except Exception:
        _remove_unnamed(db, blobs, keys)
        raise
    _remove_unnamed(db, blobs, keys)


def _remove_unnamed(db: Database, blobs: FileArea, keys: Sequence[str]) -> None:
    with suppress(StoreUnavailable):
        with db.read() as tx:
            named = instances.blob_keys_known(tx, keys)
        for key in set(keys) - named:
            blobs.remove(key)
