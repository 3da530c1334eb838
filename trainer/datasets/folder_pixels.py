"""Pixels of a folder of one's own: HU of CT, or grey of pictures and of MRI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.case import Case, SlicePixels, SliceRecord, Unusable
from trainer.datasets.nifti import NiftiVolume
from trainer.datasets.physionet import typed_mask
from trainer.datasets.picture_files import SUFFIXES
from trainer.datasets.reading import dicom_slice, picture
from trainer.datasets.volumes import opened_mask, read_volumes, stem_of, with_mask
from triage.dicom import tags
from triage.dicom.elements import read_elements
from triage.dicom.pixels import PixelFormat, frame_words
from triage.dicom.values import floats
from triage.domain.errors import TriageError

LIMITS_PERCENT = (0.5, 99.5)
"""Of all values of a study of MRI: what becomes black and white. MRI has no unit, and one bright vessel would
otherwise decide how dark a brain is."""

_MEANT = 128
"""A JPEG mask is not clean: from half of white on it is meant."""

Raw = tuple[NDArray[np.float32], tuple[float, float] | None]


def read_hu(case: Case) -> Iterator[SlicePixels | Unusable]:
    """A study of CT: a NIfTI file, or DICOM files."""
    if stem_of(case.slices[0].image) is not None:
        yield from read_volumes(case, any_blood)
        return
    masks = _mask_volume(case)
    for one in case.slices:
        try:
            image, spacing_mm = dicom_slice(one.image)
            yield _masked(one, image, spacing_mm, masks)
        except (OSError, ValueError) as exc:
            yield Unusable(str(one.image), str(exc))


def read_grey(case: Case) -> Iterator[SlicePixels | Unusable]:
    """A study of pictures, or of MRI in NIfTI or DICOM, whose values are first spread over 0 to 255."""
    masks = _mask_volume(case)
    if case.slices[0].image.suffix.lower() in SUFFIXES:
        for one in case.slices:
            try:
                yield _masked(one, picture(one.image), None, masks)
            except (OSError, ValueError) as exc:
                yield Unusable(str(one.image), str(exc))
        return
    values = _mri(case)
    read = [found[0].ravel() for found in values if not isinstance(found, str)]
    low, high = np.percentile(np.concatenate(read), LIMITS_PERCENT).tolist() if read else (0.0, 0.0)
    for one, found in zip(case.slices, values, strict=True):
        if isinstance(found, str) or not low < high:
            reason = found if isinstance(found, str) else "every pixel of the study has the same value"
            yield Unusable(_where(one), reason)
        else:
            grey = np.rint(np.clip((found[0] - low) / (high - low), 0.0, 1.0) * 255.0).astype(np.uint8)
            yield _masked(one, grey, found[1], masks)


def any_blood(values: NDArray[np.uint8], one: SliceRecord) -> NDArray[np.uint8]:
    """Whatever is above 0 is blood, of the only type that the labels of the slice name."""
    return typed_mask(values > 0, one.labels)


def _mask_volume(case: Case) -> NiftiVolume | None:
    first = next((one.mask for one in case.slices if one.mask is not None), None)
    return opened_mask(case) if first is not None and stem_of(first) is not None else None


def _masked(
    one: SliceRecord,
    image: NDArray[np.int16] | NDArray[np.uint8],
    spacing_mm: tuple[float, float] | None,
    masks: NiftiVolume | None,
) -> SlicePixels | Unusable:
    if masks is not None or one.mask is None:
        return with_mask(one, image, spacing_mm, masks, any_blood)
    try:
        drawn = picture(one.mask)
        if drawn.shape != image.shape:
            raise ValueError(f"it is not as large as {one.image.name}")
    except (OSError, ValueError) as exc:
        return Unusable(str(one.mask), str(exc))
    meant = _MEANT if one.mask.suffix.lower() != ".png" else 1
    return SlicePixels(image, spacing_mm, any_blood((drawn >= meant).astype(np.uint8), one))


def _mri(case: Case) -> list[Raw | str]:
    """Values of each slice, or why there are none."""
    if stem_of(case.slices[0].image) is not None:
        scan = NiftiVolume.open(case.slices[0].image)
        return [(np.nan_to_num(scan.values(one.frame)), scan.grid.spacing_mm) for one in case.slices]
    return [_mri_slice(one.image) for one in case.slices]


def _mri_slice(path: Path) -> Raw | str:
    try:
        raw = read_elements(path.read_bytes())
        pixels = PixelFormat.of(raw, 1)
        (words,) = frame_words(raw, pixels)
    except (OSError, TriageError) as exc:
        return str(exc)
    spacing = floats(raw.elements, tags.PIXEL_SPACING, 2)
    slope, intercept = (
        floats(raw.elements, tag, 1) or (default,)
        for tag, default in ((tags.RESCALE_SLOPE, 1.0), (tags.RESCALE_INTERCEPT, 0.0))
    )
    # Some scanners scale each slice by its own slope.
    values = pixels.stored(words).astype(np.float32) * np.float32(slope[0]) + np.float32(intercept[0])
    return values, (spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None


def _where(one: SliceRecord) -> str:
    return str(one.image) if stem_of(one.image) is None else f"{one.image}, slice {one.frame + 1}"
