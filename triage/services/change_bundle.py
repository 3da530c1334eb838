"""Choose another model bundle: verify it, keep a copy where every worker finds it, and put the choice on record."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from pathlib import Path

from triage.domain.errors import BundleError
from triage.inference.bundle import Bundle, load_bundle
from triage.inference.manifest import format_manifest
from triage.store import bundle_slots, bundles
from triage.store.bundle_slots import ChosenBundle, Slot
from triage.store.db import Database, Transaction
from triage.store.file_area import FileArea

FOLDER = "bundles"
"""In the file area: one folder for each bundle that was ever chosen, named by its digest."""


def keep(bundle: Bundle, blobs: FileArea) -> str:
    """Copy a bundle to where it stays, and return its name there: a study can be replayed as long as it lies there.

    A whole copy that is there already is used; the new one appears whole or not at all.

    Raises
    ------
    BundleError
        The copy is not what was verified.
    OutOfSpace
        It cannot be written.
    StoreUnavailable
        The file area does not answer.
    """
    name = f"{FOLDER}/{bundle.digest}"
    is_whole = partial(_is_whole, digest=bundle.digest)
    if not is_whole(blobs.folder(name)) and not blobs.keep_folder(name, bundle.path, is_whole):
        raise BundleError(f"The bundle {bundle.path} changed while it was copied; try again.")
    return name


def choose(db: Database, blobs: FileArea, bundle: Bundle, slot: Slot, *, actor: str, now: datetime) -> None:
    """Have workers use a bundle from their next job on, or run it beside the one they use.

    A bundle that was the shadow and is now to count is the shadow no longer.

    Raises
    ------
    BundleError, OutOfSpace, StoreUnavailable
    """
    name = keep(bundle, blobs)
    with db.transaction() as tx:
        before = bundle_slots.chosen(tx)
        record(tx, bundle, actor=actor, now=now)
        bundle_slots.choose(
            tx,
            ChosenBundle(slot, bundle.digest, name, now, actor),
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


def place_in_use(db: Database, blobs: FileArea, configured: Path) -> Path:
    """Where the bundle lies whose results count: what a person chose goes before what the settings say."""
    with db.read() as tx:
        chosen = bundle_slots.chosen(tx).get(Slot.ACTIVE)
    return blobs.folder(chosen.path) if chosen is not None else configured


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
