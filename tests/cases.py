"""The exams that every kind of result object is tried on: results of all kinds, from sources of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.builders import ct_series, enhanced_ct, legacy_converted_ct, part10, part10_named
from tests.results import REAL, Analysed, analysed
from triage.domain.finding import Subtype

UNEVEN_MM = [0, 4.2, 8.4, 12.6, 13.8, 21.2, 28.6, 36.0, 43.4]


def synthetic(**options: object) -> Callable[[Path], Analysed]:
    return lambda _: analysed([part10(ds) for ds in ct_series(9, **options)])


def real(folder: str) -> Callable[[Path], Analysed]:
    return lambda data: analysed([path.read_bytes() for path in sorted((data / folder).glob("*.dcm"))])


def nothing_said(_: Path) -> Analysed:
    empty = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyDate")
    values = dict.fromkeys((*empty, "StudyTime", "ReferringPhysicianName", "BodyPartExamined", "StudyDescription"), "")
    return analysed([part10(ds) for ds in ct_series(9, **values)])


def without_patient(_: Path) -> Analysed:
    gone = dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber"))
    absent = {**gone, "StudyDate": None, "StudyTime": None, "BodyPartExamined": None, "ReferringPhysicianName": None}
    return analysed([part10(ds) for ds in ct_series(9, **absent)])


CASES: dict[str, Callable[[Path], Analysed]] = {
    "five subtypes": synthetic(),
    "negative": lambda _: analysed(subtypes=[], score=0.1),
    "suspected without segment": lambda _: analysed(subtypes=[], score=0.8),
    "segments below the limit": lambda _: analysed(subtypes=[Subtype.SAH], score=0.2),
    "a trained bundle": lambda _: analysed(subtypes=[Subtype.IVH], score=0.6, provenance=REAL),
    "of unspecified type": lambda _: analysed(subtypes=[Subtype.ICH], provenance=REAL),
    "tilted and uneven": synthetic(
        heights_mm=UNEVEN_MM, tilt_degrees=18.5, SliceThickness=lambda i: 4.0 if i < 5 else 7.0
    ),
    "enhanced": lambda _: analysed([part10(enhanced_ct(ct_series(9)))]),
    "legacy converted": lambda _: analysed([part10(legacy_converted_ct(ct_series(9)))]),
    "implicit": synthetic(transfer_syntax=ImplicitVRLittleEndian),
    "big endian": synthetic(transfer_syntax=ExplicitVRBigEndian, PregnancyStatus=4),
    "odd size": synthetic(rows=61, columns=47),
    "own zone": synthetic(TimezoneOffsetFromUTC="+0900"),
    "japanese name": lambda _: analysed([part10_named(ds, "ir87") for ds in ct_series(9)]),
    "utf-8 name": lambda _: analysed([part10_named(ds, "utf8") for ds in ct_series(9)]),
    "without patient": without_patient,
    "empty values": nothing_said,
    "real tilted head": real("ge_head_tilt"),
}
"""Name to how it is made; the argument is the folder of the real inputs."""
