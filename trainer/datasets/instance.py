"""INSTANCE 2022: 100 scans with masks of blood of any type, in NIfTI.

Licence: CC BY-NC-ND with the agreement of the challenge; the files are the user's to download.

- The folder is ``train_2`` or ``train``; each number is one scan of one patient.
- Masks are 0 and 1 and do not say which type. Scans without a file in ``label`` go without a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, Case, Dataset, SlicePixels, SliceRecord, Unusable, wrong_folder
from trainer.datasets.physionet import home_of
from trainer.datasets.volumes import read_volumes, stem_of, volume_case, volume_named
from trainer.tell import Tell

NAME = "instance_2022"
_IMAGES, _MASKS = "data", "label"
_EXPECTS = f"train_2/{_IMAGES}/NNN.nii.gz and train_2/{_MASKS}/NNN.nii.gz, or the same below train, as it unpacks"


def _find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    home = home_of(root, _IMAGES, _MASKS)
    files = sorted((home / _IMAGES).iterdir()) if home is not None else []
    if home is None or not any(stem_of(file) for file in files):
        raise wrong_folder(root, _EXPECTS)
    numbers: dict[int, Path] = {}
    for file in files:
        stem = stem_of(file) or ""
        if not (stem.isascii() and stem.isdecimal()):
            yield Unusable(str(file), "its name is not the number of a scan with .nii.gz")
        elif int(stem) in numbers:
            yield Unusable(str(file), f"{numbers[int(stem)].name} has the same number")
        else:
            numbers[int(stem)] = file
    stems = {stem_of(scan) for scan in numbers.values()}
    for file in sorted((home / _MASKS).iterdir()):
        if stem_of(file) not in stems:
            yield Unusable(str(file), "there is no scan to this mask")
    for number, scan in sorted(numbers.items()):
        mask = volume_named(home / _MASKS, stem_of(scan) or "")
        yield from volume_case(NAME, f"{number:03d}", f"{number:03d}", scan, mask, home / _MASKS)


def _mask_values(values: NDArray[np.uint8], one: SliceRecord) -> NDArray[np.uint8]:
    highest = int(values.max())
    if highest > 1:
        raise ValueError(f"it holds the value {highest}, and only 0 and 1 have a meaning")
    return values * np.uint8(BLOOD_OF_UNKNOWN_TYPE)


def _read(case: Case) -> Iterator[SlicePixels | Unusable]:
    return read_volumes(case, _mask_values)


INSTANCE_2022 = Dataset(
    name=NAME,
    title="INSTANCE 2022, 100 scans with masks of blood of any type",
    licence="CC BY-NC-ND and the agreement of the challenge",
    source="https://instance.grand-challenge.org/",
    expects=_EXPECTS,
    find=_find,
    read=_read,
)
