"""A folder of one's own: a site's CT (``folder``), or pictures and MRI (``folder_pictures``), with masks or without.

Licence: whatever holds for the data that its owner put there.

====================================================  ======================================================
``images/PATIENT/STUDY.nii.gz``                       a study as NIfTI (``.nii`` too)
``images/PATIENT/STUDY/*``                            a study as DICOM files of one slice each, one series
``images/PATIENT/STUDY/*.png``                        a study as PNG or JPEG pictures (``folder_pictures``)
``masks/PATIENT/STUDY.nii.gz``                        its mask, of a study in NIfTI or DICOM; or
``masks/PATIENT/STUDY/NAME.png``                      the mask of the slice ``NAME.*``, PNG or JPEG
``labels.csv``                                        ``patient,study,slice,any,EDH,IPH,IVH,SAH,SDH``
====================================================  ======================================================

- Masks and labels may be missing; what is not said stays unknown. Whatever is above 0 in a mask is blood; where the
  labels of the slice name exactly one type, it is of that type.
- In ``labels.csv`` a slice is counted from 1, from the feet up (pictures: in the order of their names); an empty cell
  in ``slice`` means the whole study, an empty label nothing. Where a DICOM file of a study cannot be read, nobody knows
  which slices the numbers mean: of that study only the row of the whole counts.
- Values of MRI have no unit: each study is spread over 0 to 255 (`trainer.datasets.folder_pixels.LIMITS_PERCENT`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from trainer.datasets.case import NOTHING_KNOWN, UNKNOWN, Case, Dataset, Unusable, wrong_folder
from trainer.datasets.folder_labels import WHOLE_STUDY, FolderLabels, read_folder_labels
from trainer.datasets.folder_pixels import read_grey, read_hu
from trainer.datasets.folder_slices import Found, Stack, dicom_slices, picture_slices
from trainer.datasets.labels import labels_of_slices
from trainer.datasets.picture_files import SUFFIXES
from trainer.datasets.volumes import stem_of, volume_named, volume_slices
from trainer.tell import Tell

NAME, PICTURES_NAME = "folder", "folder_pictures"
_IMAGES, _MASKS, _TABLE = "images", "masks", "labels.csv"
_EXPECTS = (
    f"{_IMAGES}/PATIENT/STUDY.nii.gz or {_IMAGES}/PATIENT/STUDY/ with a file a slice, and if there are any "
    f"{_MASKS}/ with the same below it and {_TABLE}"
)


def _find(name: str, root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    images = root / _IMAGES
    patients = [one for one in sorted(images.iterdir()) if one.is_dir()] if images.is_dir() else []
    if not any(stem_of(one) is not None or one.is_dir() for patient in patients for one in patient.iterdir()):
        raise wrong_folder(root, _EXPECTS)
    said = read_folder_labels(root / _TABLE)
    yield from said.unusable
    for one in sorted(images.iterdir()):
        if not one.is_dir():
            yield Unusable(str(one), "it lies in no patient's folder")
    seen: set[tuple[str, str]] = set()
    for patient in patients:
        for entry in sorted(patient.iterdir()):
            study = entry.name if entry.is_dir() else stem_of(entry)
            if study is None:
                yield Unusable(str(entry), "it is neither a NIfTI file nor the folder of a study")
            elif (patient.name, study) in seen:
                yield Unusable(str(entry), "another file or folder is the same study")
            else:
                seen.add((patient.name, study))
                yield from _study(name, root, entry, study, said)
    for who, study in sorted({key[:2] for key in said.labels} - seen):
        yield Unusable(str(root / _TABLE), f"it speaks of study {study} of patient {who}, which is missing")
    yield from _lonely_masks(root / _MASKS, seen)


def _lonely_masks(masks: Path, seen: set[tuple[str, str]]) -> Iterator[Unusable]:
    for patient in sorted(one for one in masks.iterdir() if one.is_dir()) if masks.is_dir() else []:
        for entry in sorted(patient.iterdir()):
            if (patient.name, entry.name if entry.is_dir() else stem_of(entry) or "") not in seen:
                yield Unusable(str(entry), "there is no study to this mask")


def _study(name: str, root: Path, entry: Path, study: str, said: FolderLabels) -> Iterator[Case | Unusable]:
    patient = entry.parent.name
    masks = root / _MASKS / patient
    stack = Stack()
    try:
        for found in _slices(name, entry, volume_named(masks, study), masks / study):
            if isinstance(found, Unusable):
                yield found
            else:
                stack = found
        if not stack.slices:
            raise ValueError("it holds no slice that could be used")
    except (OSError, ValueError) as exc:
        yield Unusable(str(entry), str(exc))
        return
    labels = {number: one for (who, what, number), one in said.labels.items() if (who, what) == (patient, study)}
    if not stack.whole and labels.keys() - {WHOLE_STUDY}:
        yield Unusable(
            str(root / _TABLE),
            f"a file of {patient}/{study} could not be read, so that nobody knows which slices its numbers mean: its "
            "labels of single slices are left out",
        )
        labels = {number: one for number, one in labels.items() if number == WHOLE_STUDY}
    slices = stack.slices
    if beyond := sorted(number for number in labels if number > len(slices)):
        yield Unusable(
            str(root / _TABLE), f"it speaks of slices {beyond} of {patient}/{study}, which has {len(slices)}"
        )
    slices = tuple(replace(one, labels=labels.get(place, NOTHING_KNOWN)) for place, one in enumerate(slices, start=1))
    together = labels_of_slices([one.labels for one in slices])
    whole = labels.get(WHOLE_STUDY, NOTHING_KNOWN)
    if any(
        UNKNOWN not in (of_study, of_slices) and of_study != of_slices
        for of_study, of_slices in zip(whole, together, strict=True)
    ):
        yield Unusable(str(root / _TABLE), f"it says otherwise of {patient}/{study} than of its slices")
        whole = NOTHING_KNOWN
    yield Case(name, patient, f"{patient}/{study}", slices, whole if whole != NOTHING_KNOWN else together)


def _slices(name: str, entry: Path, mask: Path | None, drawn: Path) -> Found:
    """The slices of a study, once, among what could not be used."""
    if entry.is_file():
        slices, fault = volume_slices(entry, mask)
        if fault is not None:
            yield fault
        yield Stack(slices)
    elif any(one.suffix.lower() in SUFFIXES for one in entry.iterdir()):
        if name != PICTURES_NAME:
            raise ValueError(f"pictures hold no HU: prepare them as {PICTURES_NAME}")
        yield from picture_slices(entry, drawn)
    else:
        yield from dicom_slices(entry, mask, drawn, ct=name == NAME)


FOLDER = Dataset(
    name=NAME,
    title="a folder of CT, NIfTI or DICOM",
    licence="whatever holds for the data in the folder",
    source="your own",
    expects=_EXPECTS,
    find=partial(_find, NAME),
    read=read_hu,
)

FOLDER_PICTURES = Dataset(
    name=PICTURES_NAME,
    title="a folder of pictures, or of MRI in NIfTI or DICOM",
    licence="whatever holds for the data in the folder",
    source="your own",
    expects=_EXPECTS,
    find=partial(_find, PICTURES_NAME),
    read=read_grey,
    pictures=True,
)
