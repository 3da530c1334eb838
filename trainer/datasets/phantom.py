"""What ``trainer phantom --masks`` writes: SYNTHETIC heads, to try every protocol without a patient.

Licence: none is needed; nothing in them is of a person, unless an ``--anatomy`` was given that has one of its own.

A slice shows a type from the area on that the demonstration bundle is trained with; the masks hold every pixel.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.case import (
    NO_BLOOD,
    NOTHING_KNOWN,
    Case,
    Dataset,
    Labels,
    SlicePixels,
    SliceRecord,
    Unusable,
    slice_by_slice,
    wrong_folder,
)
from trainer.datasets.labels import SHOWN_FROM_MM2, labels_naming
from trainer.datasets.reading import DicomHead, dicom_head, dicom_slice
from trainer.tell import Tell
from triage.domain.finding import SUBTYPES, Subtype

NAME = "phantom"
_TRUTH = "truth.json"
_EXPECTS = f"{_TRUTH}, study-NNNN/NNNN.dcm and, with --masks, study-NNNN.npz, as trainer phantom writes them"


def _find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    try:
        truth = json.loads((root / _TRUTH).read_bytes())
        entries = [(str(one["folder"]), {Subtype(name) for name in one["subtypes"]}) for one in truth]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise wrong_folder(root, _EXPECTS) from exc
    for folder, subtypes in entries:
        yield from _study(root / folder, labels_naming(subtypes))


def _study(folder: Path, truth: Labels) -> Iterator[Case | Unusable]:
    heads: list[tuple[Path, DicomHead]] = []
    for file in sorted(folder.glob("*.dcm")):
        try:
            head = dicom_head(file)
            if head.position_mm is None or head.spacing_mm is None:
                raise ValueError("it does not say where it lies")
            heads.append((file, head))
        except (OSError, ValueError) as exc:
            yield Unusable(str(file), str(exc))
    if not heads:
        yield Unusable(str(folder), "it holds no slice")
        return
    archive = folder.with_suffix(".npz")
    outlines: NDArray[np.uint8] | None = None
    if archive.is_file():
        try:
            outlines = _outlines(archive)
        except ValueError as exc:
            yield Unusable(str(archive), f"{exc}; the slices go without a mask")
    slices = sorted((_record(file, head, archive, outlines, truth) for file, head in heads), key=_height)
    first = heads[0][1]
    yield Case(NAME, first.patient, first.study, tuple(slices), truth)


def _record(
    file: Path, head: DicomHead, archive: Path, outlines: NDArray[np.uint8] | None, truth: Labels
) -> SliceRecord:
    """Files are numbered from 1 in the order of the outlines."""
    assert head.position_mm is not None
    assert head.spacing_mm is not None
    place = int(file.stem) - 1 if file.stem.isdecimal() else -1
    if outlines is None or not 0 <= place < len(outlines):
        return SliceRecord(file, head.position_mm[2], NO_BLOOD if truth == NO_BLOOD else NOTHING_KNOWN)
    pixel_mm2 = head.spacing_mm[0] * head.spacing_mm[1]
    areas = np.bincount(outlines[place].ravel(), minlength=len(SUBTYPES) + 1)[1:] * pixel_mm2
    shown = labels_naming(subtype for subtype, area in zip(SUBTYPES, areas, strict=False) if area >= SHOWN_FROM_MM2)
    return SliceRecord(file, head.position_mm[2], shown, mask=archive, mask_frame=place)


def _height(one: SliceRecord) -> float:
    return one.position_mm


def _outlines(archive: Path) -> NDArray[np.uint8]:
    """Labels of an exam, shape (slice, row, column), slices from the feet up."""
    try:
        with archive.open("rb") as file, np.load(file) as kept:
            labels: NDArray[Any] = kept["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
        raise ValueError("it does not hold the labels of an exam") from exc
    if labels.ndim != 3 or labels.dtype != np.uint8 or labels.max(initial=0) > len(SUBTYPES):
        raise ValueError("it does not hold the labels of an exam")
    return labels


def _read(case: Case) -> Iterator[SlicePixels | Unusable]:
    archive = next((one.mask for one in case.slices if one.mask is not None), None)
    outlines = _outlines(archive) if archive is not None else None

    def read(one: SliceRecord) -> SlicePixels:
        mask = outlines[one.mask_frame] if outlines is not None and one.mask is not None else None
        return SlicePixels(*dicom_slice(one.image), mask)

    return slice_by_slice(case, read)


PHANTOM = Dataset(
    name=NAME,
    title="SYNTHETIC heads of trainer phantom",
    licence="none needed: made by a program, SYNTHETIC",
    source="trainer phantom OUT --masks",
    expects=_EXPECTS,
    find=_find,
    read=_read,
)
