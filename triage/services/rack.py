"""The bundles of one worker, kept up with what people choose: the one whose results count, and its shadow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog

from triage.domain.errors import BundleError, ProviderUnavailable, TriageError
from triage.inference.predict import Predictor
from triage.services.change_bundle import record
from triage.store import bundle_slots
from triage.store.bundle_slots import ChosenBundle, Slot
from triage.store.db import Database
from triage.store.file_area import FileArea

log = structlog.get_logger()

ACTOR = "worker"


@dataclass(slots=True)
class Shadow:
    """A loaded bundle that is only compared, and since when it is chosen."""

    predictor: Predictor
    since: datetime


@dataclass(slots=True)
class Rack:
    """Loads bundles, warm, between two jobs.

    Parameters
    ----------
    configured : Path
        The bundle of the settings, used until a person has chosen one.
    fallback : bool
        Whether ``configured`` may stand in at start for a chosen one that does not load. The bundle that is
        shipped for demonstration never does: its results would be worse than none.
    load : callable
        Opens the bundle in a folder and runs it once.
    """

    db: Database
    blobs: FileArea
    configured: Path
    fallback: bool
    load: Callable[[Path], Predictor]
    clock: Callable[[], datetime]
    _active: Predictor | None = field(default=None, init=False)
    _shadow: Shadow | None = field(default=None, init=False)
    _seen: dict[Slot, ChosenBundle | None] = field(default_factory=dict, init=False)
    _said: set[ChosenBundle] = field(default_factory=set, init=False)

    @property
    def chosen(self) -> bool:
        """Whether a person has chosen the bundle whose results count, in place of the one of the settings."""
        return self._chosen(Slot.ACTIVE) is not None

    def active(self) -> Predictor:
        """The bundle whose results count, loaded anew when a person has chosen another.

        One that does not load is put on record, and the one before stays in use.

        Raises
        ------
        BundleError
            None could be loaded.
        ProviderUnavailable
        """
        choice = self._chosen(Slot.ACTIVE)
        if self._active is None or (choice is not None and choice != self._seen.get(Slot.ACTIVE)):
            self._active = self._loaded(choice)
            self._seen[Slot.ACTIVE] = choice
        return self._active

    def shadow(self) -> Shadow | None:
        """The bundle that is run beside it; None when there is none, or it does not load.

        Whatever is wrong with a shadow, it never ends the worker.

        Raises
        ------
        StoreUnavailable
            It is tried again when asked for again.
        """
        choice = self._chosen(Slot.SHADOW)
        if Slot.SHADOW not in self._seen or choice != self._seen[Slot.SHADOW]:
            self._shadow = None
            if choice is not None:
                try:
                    self._shadow = Shadow(self._open(self.blobs.folder(choice.path), choice.digest), choice.chosen_at)
                    log.info("shadow_loaded", bundle=self._shadow.predictor.bundle.name, digest=choice.digest)
                except (BundleError, ProviderUnavailable) as exc:
                    self._say(choice, exc)
            # Not before: when the database did not answer, it is tried again.
            self._seen[Slot.SHADOW] = choice
        return self._shadow

    def _chosen(self, slot: Slot) -> ChosenBundle | None:
        with self.db.read() as tx:
            return bundle_slots.chosen(tx).get(slot)

    def _loaded(self, choice: ChosenBundle | None) -> Predictor:
        if choice is None:
            return self._open(self.configured)
        if self._active is not None and self._active.bundle.digest == choice.digest:
            return self._active
        try:
            return self._open(self.blobs.folder(choice.path), choice.digest)
        except (BundleError, ProviderUnavailable) as exc:
            self._say(choice, exc)
            if self._active is not None:
                return self._active
            if not self.fallback:
                raise
        return self._open(self.configured)

    def _open(self, path: Path, digest: str | None = None) -> Predictor:
        predictor = self.load(path)
        if digest is not None and predictor.bundle.digest != digest:
            raise BundleError(f"The bundle in {path} is not the one that was chosen: choose it again.")
        with self.db.transaction() as tx:
            record(tx, predictor.bundle, actor=ACTOR, now=self.clock())
        return predictor

    def _say(self, choice: ChosenBundle, why: TriageError) -> None:
        """Put on record that a choice did not load, once, however often it is tried."""
        if choice in self._said:
            return
        log.error("bundle_not_loaded", slot=choice.slot.value, digest=choice.digest, why=str(why))
        with self.db.transaction() as tx:
            bundle_slots.not_loaded(tx, choice, why=str(why), now=self.clock(), actor=ACTOR)
        self._said.add(choice)
