"""What the page of a study shows: the series that its worklist row speaks of, slice by slice, with what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from triage.dicom.slices import SeriesSlices, series_slices
from triage.domain.encoded import ObjectKind
from triage.domain.errors import NotFound
from triage.domain.finding import KeySlice
from triage.domain.reading import JUDGEABLE
from triage.domain.volume import SliceSource
from triage.domain.worklist import ListedStudy
from triage.store import instances, result_objects, results, series, worklist
from triage.store.instances import StoredInstance
from triage.store.results import ShownResult
from triage.store.series import SeriesRecord
from triage.store.transaction import Transaction

READABLE = (ObjectKind.SEG, ObjectKind.SEG_LABELMAP)
"""Objects whose outlines can be drawn, in the order of preference."""


@dataclass(frozen=True, slots=True)
class ViewKey:
    """Which images and which result a page shows. It is equal only while both are.

    ``last_instance`` is 0 where there is a result: the slices of its revision were all there, and what is filed under
    it later, such as a localizer, is none.
    """

    series_id: int
    revision: int
    last_instance: int
    result_id: int
    provisional: bool

    def __str__(self) -> str:
        state = "p" if self.provisional else "f"
        return f"{self.series_id}-{self.revision}-{self.last_instance}-{self.result_id}{state}"


@dataclass(frozen=True, slots=True)
class Found:
    """A study with the series that its row speaks of, and the result that the row shows; None where it has none."""

    listed: ListedStudy
    record: SeriesRecord
    shown: ShownResult | None
    key: ViewKey

    @property
    def state(self) -> str:
        """What a reader is told of the study, as a token that differs when it does; its status stands first."""
        row = self.listed.row
        return f"{row.status.value}.{'provisional' if row.provisional else 'final'}.{self.key}"


@dataclass(frozen=True, slots=True, eq=False)
class SeriesView:
    """The slices of a series and the files that they are in; ``segmentation`` is the file of the outlines."""

    slices: SeriesSlices
    blob_keys: Mapping[str, str]
    segmentation: str | None

    def __len__(self) -> int:
        return len(self.slices.places)

    def source(self, index: int) -> SliceSource:
        """Where the slice of this index is found.

        Raises
        ------
        NotFound
            The series has no such slice.
        """
        if not 0 <= index < len(self):
            raise NotFound("There is no such slice.")
        return self.slices.places[index].source

    def index(self, source: SliceSource) -> int:
        """The index of the slice that a frame is.

        Raises
        ------
        NotFound
            The frame is none of them.
        """
        for index, place in enumerate(self.slices.places):
            if place.source == source:
                return index
        raise NotFound("There is no such slice.")


def find(tx: Transaction, study_instance_uid: str) -> Found:
    """The study and what its page is about.

    Raises
    ------
    NotFound
        No instance of this study has come in.
    """
    listed = worklist.listed(tx, study_instance_uid)
    if listed is None:
        raise NotFound("There is no such study.")
    spoken_of = listed.row.series_instance_uid
    record = next(r for r in series.of_study(tx, study_instance_uid) if r.series_instance_uid == spoken_of)
    shown = results.shown(tx, record.id) if listed.row.status in JUDGEABLE else None
    revision = record.revision if shown is None else shown.revision
    key = ViewKey(
        series_id=record.id,
        revision=revision,
        last_instance=instances.last_number(tx, record.id, revision) if shown is None else 0,
        result_id=0 if shown is None else shown.result_id,
        provisional=shown is not None and shown.result.provisional,
    )
    return Found(listed, record, shown, key)


def series_view(tx: Transaction, found: Found) -> SeriesView:
    """The slices of what was found.

    Raises
    ------
    UnusableSeries
        The series holds no image.
    """
    return _view(tx, found, instances.of_series(tx, found.key.series_id, up_to_revision=found.key.revision))


def key_view(tx: Transaction, found: Found, key_slice: KeySlice) -> SeriesView:
    """The same with the instance of the key slice alone: what a small picture needs.

    Raises
    ------
    NotFound
        The instance is not there.
    UnusableSeries
        It holds no image.
    """
    stored = instances.find(tx, key_slice.sop_instance_uid)
    if stored is None:
        raise NotFound("There is no such slice.")
    return _view(tx, found, [stored])


def _view(tx: Transaction, found: Found, stored: Sequence[StoredInstance]) -> SeriesView:
    objects = {
        one.kind: one.blob_key
        for one in result_objects.of_study(tx, found.record.study_instance_uid)
        if one.result_id == found.key.result_id
    }
    return SeriesView(
        slices=series_slices([one.header for one in stored]),
        blob_keys={one.sop_instance_uid: one.blob_key for one in stored},
        segmentation=next((objects[kind] for kind in READABLE if kind in objects), None),
    )
