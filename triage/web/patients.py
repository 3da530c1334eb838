"""Who a patient is, for lines of a list: read from one stored instance when it is shown, and kept in memory only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Final

from triage.dicom.demographics import read_demographics
from triage.domain.errors import NotFound, StoreUnavailable, UnreadableInstance
from triage.domain.notice import Demographics, PersonName
from triage.store import reading_list
from triage.store.transaction import Transaction
from triage.web.desk import Desk

_BYTES_OF_A_PATIENT: Final = 1000
_SEXES: Final[Mapping[str, str]] = {"M": "male", "F": "female", "O": "other"}


@dataclass(frozen=True, slots=True, repr=False)
class ListedPatient:
    """What a line says of a patient; empty where the images say nothing."""

    name: str
    patient_id: str
    sex: str
    birth_date: date | None

    def age(self, at: datetime) -> int | None:
        """Whole years at a time."""
        born = self.birth_date
        if born is None:
            return None
        years = at.year - born.year - ((at.month, at.day) < (born.month, born.day))
        return years if years >= 0 else None


def patients_of(desk: Desk, tx: Transaction, study_instance_uids: Collection[str]) -> dict[str, ListedPatient]:
    """By study, the patient of its first instance; a study whose file is gone or cannot be read is left out."""
    found = {}
    for study, blob_key in reading_list.files_of(tx, study_instance_uids).items():
        try:
            found[study] = desk.pictures.get(
                ("patient", blob_key), partial(_read, desk, blob_key), lambda _: _BYTES_OF_A_PATIENT
            )
        except (NotFound, StoreUnavailable, UnreadableInstance):
            continue
    return found


def _read(desk: Desk, blob_key: str) -> ListedPatient:
    return listed_patient(read_demographics(desk.blobs.read(blob_key)))


def listed_patient(found: Demographics) -> ListedPatient:
    """Demographics in the words of a list."""
    return ListedPatient(
        name=" = ".join(_words(form) for form in (found.name, found.name_ideographic) if form),
        patient_id=found.patient_id,
        sex=_SEXES.get(found.sex, found.sex),
        birth_date=_date(found.birth_date),
    )


def _words(name: PersonName) -> str:
    given = " ".join(part for part in (name.prefix, name.given, name.middle, name.suffix) if part)
    return ", ".join(part for part in (name.family, given) if part)


def _date(da: str) -> date | None:
    try:
        return datetime.strptime(da, "%Y%m%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None
