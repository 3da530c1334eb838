"""Choose another model bundle: verify it, keep a copy where every worker finds it, and put the choice on record."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from datetime import datetime
from pathlib import Path

from triage.domain.errors import BundleError, OutOfSpace
from triage.inference.bundle import Bundle, load_bundle
from triage.inference.manifest import format_manifest
from triage.store import bundle_slots, bundles
from triage.store.bundle_slots import ChosenBundle, Slot
from triage.store.db import Database, Transaction

FOLDER = "bundles"
"""Below the root of the file area: one folder for each bundle that was ever chosen, named by its digest."""


def keep(bundle: Bundle, root: Path) -> Path:
    """Copy a bundle to where it stays, and return that place: a study can be replayed as long as it lies there.

    A whole copy that is there already is used; the new one appears whole or not at all.

    Raises
    ------
    BundleError
        The copy is not what was verified.
    OutOfSpace
        It cannot be written.
    """
    place = root / FOLDER / bundle.digest
    if _is_whole(place, bundle.digest):
        return place
    unfinished = place.with_name(f"{uuid.uuid4().hex}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(bundle.path, unfinished, copy_function=shutil.copyfile)
        for written in [*unfinished.iterdir(), unfinished]:
            written.chmod(0o755 if written.is_dir() else 0o644)  # who chooses is seldom who analyses
            _sync(written)
        if not _is_whole(unfinished, bundle.digest):
            raise BundleError(f"The bundle {bundle.path} changed while it was copied; try again.")
        shutil.rmtree(place, ignore_errors=True)  # a damaged copy
        unfinished.rename(place)
        _sync(place.parent)
    except OSError as exc:
        raise OutOfSpace(f"The bundle cannot be copied to {place}: {exc.strerror or type(exc).__name__}.") from exc
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return place


def choose(db: Database, root: Path, bundle: Bundle, slot: Slot, *, actor: str, now: datetime) -> None:
    """Have workers use a bundle from their next job on, or run it beside the one they use.

    A bundle that was the shadow and is now to count is the shadow no longer.

    Raises
    ------
    BundleError, OutOfSpace
    """
    place = keep(bundle, root)
    with db.transaction() as tx:
        before = bundle_slots.chosen(tx)
        record(tx, bundle, actor=actor, now=now)
        bundle_slots.choose(
            tx,
            ChosenBundle(slot, bundle.digest, str(place.relative_to(root)), now, actor),
            {
                "name": bundle.name,
                "version": bundle.version,
                "suspected_at": bundle.rule.suspected_at,
                "emergent_at": bundle.rule.emergent_at,
                "previous": before[slot].digest if slot in before else None,
            },
        )
        shadow = before.get(Slot.SHADOW)
        if slot is Slot.ACTIVE and shadow is not None and shadow.digest == bundle.digest:
            bundle_slots.clear(tx, Slot.SHADOW, now=now, actor=actor)


def clear_shadow(db: Database, *, actor: str, now: datetime) -> bool:
    """Run no bundle beside the one in use any more; False when there was none."""
    with db.transaction() as tx:
        return bundle_slots.clear(tx, Slot.SHADOW, now=now, actor=actor)


def place_in_use(db: Database, root: Path, configured: Path) -> Path:
    """Where the bundle lies whose results count: what a person chose goes before what the settings say."""
    with db.read() as tx:
        chosen = bundle_slots.chosen(tx).get(Slot.ACTIVE)
    return root / chosen.path if chosen is not None else configured


def record(tx: Transaction, bundle: Bundle, *, actor: str, now: datetime) -> None:
    """Put the manifest of a bundle on record."""
    bundles.record(
        tx,
        digest=bundle.digest,
        name=bundle.name,
        version=bundle.version,
        manifest=json.loads(format_manifest(bundle.manifest)),
        now=now,
        actor=actor,
    )


def _is_whole(place: Path, digest: str) -> bool:
    try:
        return place.is_dir() and load_bundle(place).digest == digest
    except BundleError:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
