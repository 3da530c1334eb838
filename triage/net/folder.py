"""A folder as a way out: for what picks files up, and for sites whose archive imports from a share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triage.domain.errors import DeliveryUnconfirmed, TriageError
from triage.domain.study import is_uid
from triage.net.outgoing import OutgoingInstance, SendOutcome


@dataclass(frozen=True, slots=True)
class FolderTarget:
    """The folder. It must be there: a share that is not mounted must not become a folder of the same name."""

    path: Path

    def __str__(self) -> str:
        return f"folder {self.path}"


def send(target: FolderTarget, instances: Sequence[OutgoingInstance]) -> list[SendOutcome]:
    """Write each object as ``<SOP Instance UID>.dcm``: whole or not at all, and on the disk when this returns.

    Written again, the file is replaced by the same bytes.

    Raises
    ------
    DeliveryUnconfirmed
        The folder is not there, or its share does not answer.
    """
    try:
        there = target.path.is_dir()
    except OSError as exc:
        raise DeliveryUnconfirmed(
            f"{target} cannot be reached ({exc.strerror}): look after its share, and the rights on the way to it."
        ) from exc
    if not there:
        raise DeliveryUnconfirmed(f"There is no {target}: make it, mount it, or correct folder of this destination.")
    return [_write(target, item) for item in instances]


def _write(target: FolderTarget, item: OutgoingInstance) -> SendOutcome:
    if not is_uid(item.sop_instance_uid):
        raise ValueError("only objects with a UID are written: it is the name of the file")
    final = target.path / f"{item.sop_instance_uid}.dcm"
    unfinished = target.path / f".{item.sop_instance_uid}.part"
    try:
        content = item.read()
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(final)
        _sync(target.path)
    except OSError as exc:
        with contextlib.suppress(OSError):  # a share that failed once may fail again; the next attempt writes it anew
            unfinished.unlink(missing_ok=True)
        why = DeliveryUnconfirmed(f"{target} cannot be written ({exc.strerror}): check its rights and free space.")
        return SendOutcome(item.sop_instance_uid, why, None)
    except TriageError as exc:
        return SendOutcome(item.sop_instance_uid, exc, None)
    return SendOutcome(item.sop_instance_uid, None, None)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
