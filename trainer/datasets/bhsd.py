"""BHSD: 192 scans of heads that bleed, every pixel with its type of blood, in NIfTI.

Licence: published as MIT; its images are those of RSNA 2019, so the rules of that Kaggle competition hold for them as
well. The files are the user's to download.

- The folder of the masks is ``ground truths``, with a space; some copies have ``ground_truths``.
- A file is ``ID_<patient>_ID_<study>.nii.gz`` with the names of RSNA 2019: a net that was trained on RSNA 2019 has
  seen these heads, and BHSD is no external test of it.
- Values 1 to 5 are EDH, IPH, IVH, SAH and SDH, the order of this project.
- The slice-labelled volumes of the same publication have another layout and are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.case import Case, Dataset, SlicePixels, SliceRecord, Unusable, wrong_folder
from trainer.datasets.physionet import home_of
from trainer.datasets.volumes import read_volumes, stem_of, volume_case, volume_named
from trainer.tell import Tell
from triage.domain.finding import SUBTYPES

NAME = "bhsd"
_IMAGES, _MASKS = "images", ("ground truths", "ground_truths", "ground-truths")
_EXPECTS = f"{_IMAGES}/ID_*_ID_*.nii.gz and '{_MASKS[0]}'/ with files of the same names, as label_192.zip unpacks"
_FILE = re.compile(r"(ID_[0-9a-f]+)_(ID_[0-9a-f]+)", re.IGNORECASE)


def _find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    found = next(((home, masks) for masks in _MASKS if (home := home_of(root, _IMAGES, masks))), None)
    if found is None:
        raise wrong_folder(root, _EXPECTS)
    images, masks = found[0] / _IMAGES, found[0] / found[1]
    scans = [file for file in sorted(images.iterdir()) if stem_of(file) is not None]
    if not scans:
        raise wrong_folder(root, _EXPECTS)
    for file in sorted(images.iterdir()):
        if file not in scans:
            yield Unusable(str(file), "it is no NIfTI file")
    for file in sorted(masks.iterdir()):
        if volume_named(images, stem_of(file) or "") is None:
            yield Unusable(str(file), "there is no scan to this mask")
    seen: set[str] = set()
    for scan in scans:
        study = stem_of(scan) or ""
        match = _FILE.fullmatch(study)
        if match is None:
            yield Unusable(str(scan), "its name is not ID_<patient>_ID_<study>, so nobody knows whose it is")
        elif study in seen:
            yield Unusable(str(scan), "the same scan lies beside it with another ending")
        else:
            seen.add(study)
            yield from volume_case(NAME, match[1], study, scan, volume_named(masks, study), masks)


def _mask_values(values: NDArray[np.uint8], one: SliceRecord) -> NDArray[np.uint8]:
    highest = int(values.max())
    if highest > len(SUBTYPES):
        raise ValueError(f"it holds the value {highest}, and only 0 to {len(SUBTYPES)} have a meaning")
    return values


def _read(case: Case) -> Iterator[SlicePixels | Unusable]:
    return read_volumes(case, _mask_values)


BHSD = Dataset(
    name=NAME,
    title="BHSD, 192 scans with the type of every pixel",
    licence="MIT as published; the images are those of RSNA 2019, whose competition rules hold as well",
    source="https://github.com/White65534/BHSD",
    expects=_EXPECTS,
    find=_find,
    read=_read,
)
