"""What the page of one study shows, gathered from the stores as plain values for its template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from triage.dicom.codes import SUBTYPE_CODES
from triage.dicom.demographics import read_demographics
from triage.dicom.slices import SeriesSlices
from triage.domain.errors import NotFound, StoreUnavailable, UnreadableInstance, UnusableSeries
from triage.domain.finding import KINDS, Subtype, WorklistStatus
from triage.domain.lifecycle import DeliveryState, SeriesState
from triage.domain.notice import DEMONSTRATION
from triage.domain.reading import JUDGEABLE, Verdict
from triage.domain.reason_texts import REASON_TEXTS
from triage.services.view import Found, SeriesView
from triage.store import audit, bundles, deliveries, instances, jobs, readings, retention, series
from triage.store.demonstration import speaking
from triage.store.transaction import Transaction
from triage.web import timeline
from triage.web.bundle import ShownBundle
from triage.web.desk import Desk
from triage.web.drawing import SUBTYPE_WORDS, WINDOWS
from triage.web.patients import listed_patient
from triage.web.pictures import Gallery, gallery_of

LONGEST_TIMELINE: Final = 300
"""Rows of the log; the audit page has all of them."""

_LONGEST_NUMBER: Final = 6

_VERDICTS: Final[Mapping[WorklistStatus, Mapping[Verdict, str]]] = {
    WorklistStatus.SUSPECTED: {
        Verdict.AGREE: "Agree: there is a haemorrhage",
        Verdict.PARTLY: "Partly: there is one, but not as outlined or named",
        Verdict.DISAGREE: "Disagree: I saw none (false flag)",
    },
    WorklistStatus.NOT_SUSPECTED: {
        Verdict.AGREE: "Agree: I saw no haemorrhage either",
        Verdict.PARTLY: "Partly: I am not sure",
        Verdict.DISAGREE: "Disagree: I saw a haemorrhage (missed)",
    },
}

_SERIES_WORDS: Final[Mapping[SeriesState, str]] = {
    SeriesState.RECEIVING: "images are coming in",
    SeriesState.STABLE: "waits for the analysis",
    SeriesState.PASSED_OVER: "not chosen",
    SeriesState.UNUSABLE: "not analysed",
    SeriesState.ANALYSED: "analysed",
}

_DELIVERY_WORDS: Final[Mapping[DeliveryState, str]] = {
    DeliveryState.PENDING: "waiting",
    DeliveryState.SENDING: "being sent",
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.COMMITTED: "delivered, kept by the archive",
    DeliveryState.FAILED: "failed",
}


@dataclass(frozen=True, slots=True, repr=False)
class Patient:
    """Who the patient is, as the images say it; read for this page and kept nowhere."""

    name: str
    patient_id: str
    birth_date: str
    sex: str
    study_date: str
    description: str


@dataclass(frozen=True, slots=True)
class SubtypeRow:
    """One subtype in the table; ``slices`` says where it is outlined."""

    name: str
    words: str
    colour: str
    probability: float
    volume_ml: float
    slices: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One slice in the strip; ``score`` is None where the result does not tell the slices apart."""

    index: int
    score: float | None
    marks: str

    @property
    def height(self) -> float:
        """Of 48, so that the lowest can still be seen."""
        return round(max(1.0, 48.0 * (self.score or 0.0)), 1)


@dataclass(frozen=True, slots=True)
class Viewer:
    """The slices as the page shows them. Indices count from 0, what people read from 1."""

    bars: tuple[Bar, ...]
    start: int
    key: int | None
    window: str
    outline: bool
    version: str
    counted: str
    turned: bool
    outlines_stored: bool
    scored: bool

    @property
    def last(self) -> int:
        """Index of the last slice."""
        return len(self.bars) - 1

    @property
    def highest(self) -> str:
        """The strip in words: the slices of the highest probability."""
        best = sorted((bar for bar in self.bars if bar.score is not None), key=lambda b: -(b.score or 0.0))[:3]
        return ", ".join(f"slice {bar.index + 1} ({bar.score:.2f})" for bar in best)


def study_values(desk: Desk, tx: Transaction, found: Found, asked: Mapping[str, str]) -> dict[str, Any]:
    """Everything that ``study.html`` needs; ``asked`` is the query of the address."""
    row = found.listed.row
    gallery = gallery_of(desk)
    removed_at = retention.removed_at(tx, row.study_instance_uid)
    try:
        slices = gallery.view(tx, found) if removed_at is None else None
    except UnusableSeries:
        slices = None
    first = instances.first_of_series(tx, found.record.id)
    records = audit.records(tx, study_instance_uid=row.study_instance_uid, limit=LONGEST_TIMELINE)
    return {
        "row": row,
        "listed": found.listed,
        "status_words": timeline.STATUS_WORDS[row.status],
        "rule": found.shown.result.rule if found.shown else None,
        "bundle": found.shown.bundle if found.shown else None,
        "speaking": _speaking(tx, row.study_instance_uid),
        "demonstration": DEMONSTRATION if row.demonstration else "",
        "reason": REASON_TEXTS[row.reason] if row.reason else "",
        "reason_detail": found.record.detail or "" if row.reason else "",
        "removed_at": removed_at,
        "patient": _patient(desk, first.blob_key),
        "viewer": _viewer(gallery, found, slices, asked) if slices is not None else None,
        "windows": WINDOWS,
        "subtypes": _subtype_rows(gallery, found, slices),
        "series": _series_rows(tx, found, timeline.reasons(records)),
        "steps": timeline.steps(records),
        "deliveries": [
            {"record": one, "words": _DELIVERY_WORDS[one.state]}
            for one in deliveries.of_study(tx, row.study_instance_uid)
        ],
        "can_retry": can_retry(tx, row.study_instance_uid),
        "viewer_link": viewer_link(desk.options.viewer_link, row.study_instance_uid, row.accession_number),
        **reading_values(tx, found),
    }


def _speaking(tx: Transaction, study_instance_uid: str) -> ShownBundle | None:
    """The bundle that speaks of the study; None where none has been put on record."""
    digest = speaking(tx, [study_instance_uid]).get(study_instance_uid)
    found = bundles.on_record(tx, digest=digest) if digest is not None else None
    return ShownBundle.of(found) if found is not None else None


def reading_values(tx: Transaction, found: Found) -> dict[str, Any]:
    """What the part with the judgements needs."""
    row = found.listed.row
    return {
        "study_uid": row.study_instance_uid,
        "seen": found.state,
        "choices": _VERDICTS[row.status] if row.status in JUDGEABLE else {},
        "readings": readings.of_study(tx, row.study_instance_uid),
        "verdict_words": timeline.VERDICT_WORDS,
    }


def can_retry(tx: Transaction, study_instance_uid: str) -> bool:
    """Whether anything waits for a person to try it again."""
    failed_deliveries = any(d.state is DeliveryState.FAILED for d in deliveries.of_study(tx, study_instance_uid))
    return failed_deliveries or jobs.any_failed(tx, study_instance_uid)


def viewer_link(template: str, study_instance_uid: str, accession_number: str) -> str:
    """The address of the study in the site's own viewer; empty without one."""
    values = {"{study_instance_uid}": study_instance_uid, "{accession_number}": accession_number}
    for place, value in values.items():
        template = template.replace(place, quote(value, safe=""))
    return template


def _patient(desk: Desk, blob_key: str) -> Patient | None:
    try:
        found = read_demographics(desk.blobs.read(blob_key))
    except (NotFound, StoreUnavailable, UnreadableInstance):
        return None
    listed = listed_patient(found)
    return Patient(
        name=listed.name,
        patient_id=listed.patient_id,
        birth_date=_date(found.birth_date),
        sex=listed.sex,
        study_date=_date(found.study_date),
        description=found.study_description,
    )


def _date(da: str) -> str:
    return f"{da[:4]}-{da[4:6]}-{da[6:]}" if len(da) == 8 and da.isdigit() else da


def _viewer(gallery: Gallery, found: Found, shown: SeriesView, asked: Mapping[str, str]) -> Viewer:
    outlines = gallery.outlines(shown)
    scores = found.shown.slice_scores if found.shown else None
    if scores is not None and len(scores) != len(shown):
        scores = None
    bars = []
    for index, place in enumerate(shown.slices.places):
        marks = outlines.subtypes(place.source) if outlines is not None else ()
        words = ", ".join(f"{subtype.value} {SUBTYPE_WORDS[subtype]}" for subtype in marks)
        bars.append(Bar(index, None if scores is None else scores[index], words))
    row_key = found.listed.row.key_slice
    key = row_key.index if row_key is not None and row_key.index < len(bars) else None
    wanted = asked.get("slice", "")
    is_number = len(wanted) <= _LONGEST_NUMBER and wanted.isascii() and wanted.isdigit()
    start = int(wanted) if is_number and int(wanted) < len(bars) else None
    window = asked.get("window", "brain")
    return Viewer(
        bars=tuple(bars),
        start=start if start is not None else key if key is not None else len(bars) // 2,
        key=key,
        window=window if window in WINDOWS else "brain",
        outline=asked.get("outline") != "0",
        version=str(found.key),
        counted=_counted(shown.slices),
        turned=bool(shown.slices.turn),
        outlines_stored=outlines is not None,
        scored=scores is not None,
    )


def _counted(slices: SeriesSlices) -> str:
    if not slices.ordered:
        return "in the order of their numbers: the images do not say where they lie"
    return "from below" if slices.from_below else "from above"


def _subtype_rows(gallery: Gallery, found: Found, shown: SeriesView | None) -> list[SubtypeRow]:
    outlines = gallery.outlines(shown) if shown is not None else None
    where: dict[Subtype, list[int]] = {subtype: [] for subtype in KINDS}
    if shown is not None and outlines is not None:
        for index, place in enumerate(shown.slices.places):
            for subtype in outlines.subtypes(place.source):
                where[subtype].append(index + 1)
    return [
        SubtypeRow(
            name=subtype.value,
            words=SUBTYPE_WORDS[subtype],
            colour="#{:02x}{:02x}{:02x}".format(*SUBTYPE_CODES[subtype].colour),
            probability=finding.probability,
            volume_ml=finding.volume_ml,
            slices=ranges(where[subtype]),
        )
        for subtype, finding in sorted(found.listed.row.subtypes.items(), key=lambda item: -item[1].volume_ml)
    ]


def ranges(numbers: list[int]) -> str:
    """Ascending numbers as people write them: ``3-5, 9``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, dict.fromkeys(run))) for run in runs)


def _series_rows(tx: Transaction, found: Found, why: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = []
    for record in series.of_study(tx, found.record.study_instance_uid):
        header = instances.first_of_series(tx, record.id).header
        rows.append(
            {
                "record": record,
                "number": header.series_number,
                "description": header.series_description,
                "modality": header.modality,
                "instances": instances.count(tx, record.id),
                "words": _SERIES_WORDS[record.state],
                "reason": record.reason.value.replace("_", " ") if record.reason else "",
                "why": record.detail or why.get(record.series_instance_uid, ""),
                "spoken_of": record.id == found.record.id,
            }
        )
    return rows
