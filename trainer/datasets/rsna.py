"""RSNA Intracranial Hemorrhage Detection 2019: 752,803 labelled slices and 121,232 without labels, as DICOM.

Licence: the rules of the Kaggle competition; not to be passed on. The files are the user's to download.

- Labels are of slices; nobody outlined anything. ``stage_2_test`` has no labels, and its slices say so.
- Names of patients, studies and instances are ``ID_...``, no valid UIDs. One patient can have several studies.
- Some files lost the sign of their values (`trainer.datasets.reading.unwrapped_hu`), one is cut short, some hold one
  value throughout. Window values come twice in some; nothing here reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from trainer.datasets.case import Case, Dataset, SlicePixels, SliceRecord, Unusable, slice_by_slice, wrong_folder
from trainer.datasets.labels import labels_of_slices
from trainer.datasets.physionet import home_of
from trainer.datasets.reading import dicom_slice
from trainer.datasets.rsna_index import LABELS, TEST, TRAIN, RsnaIndex
from trainer.tell import Tell

NAME = "rsna_2019"
_EXPECTS = f"{LABELS}, {TRAIN}/ID_*.dcm and perhaps {TEST}/ID_*.dcm, as the Kaggle competition unpacks"


def _find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    home = home_of(root, LABELS, TRAIN)
    if home is None:
        raise wrong_folder(root, _EXPECTS)
    with closing(RsnaIndex(work / "rsna.sqlite", home)) as index:
        index.fill(tell)
        if not index.files():
            raise wrong_folder(root, _EXPECTS)
        yield from index.unusable()
        for patient, study, slices in index.studies():
            records = tuple(SliceRecord(file, height_mm, labels) for file, height_mm, labels in slices)
            labels = labels_of_slices([one.labels for one in records])
            yield Case(NAME, patient or None, study, records, labels)


def _read(case: Case) -> Iterator[SlicePixels | Unusable]:
    return slice_by_slice(case, _slice)


def _slice(one: SliceRecord) -> SlicePixels:
    image, spacing_mm = dicom_slice(one.image, wrapped=True)
    if image.min() == image.max():
        raise ValueError(f"every pixel has the same value, {int(image[0, 0])} HU")
    return SlicePixels(image, spacing_mm, None)


RSNA_2019 = Dataset(
    name=NAME,
    title="RSNA Intracranial Hemorrhage Detection 2019",
    licence="rules of the Kaggle competition; not to be passed on",
    source="https://www.kaggle.com/competitions/rsna-intracranial-hemorrhage-detection",
    expects=_EXPECTS,
    find=_find,
    read=_read,
)
