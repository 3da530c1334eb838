"""Studies that are one NIfTI file, with a mask in another: what BHSD, INSTANCE 2022 and a folder of one's own share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.case import Case, SlicePixels, SliceRecord, Unusable
from trainer.datasets.nifti import NiftiGrid, NiftiVolume, nifti_grid

ENDINGS = (".nii.gz", ".nii")

_SAME_MM = 0.05

MaskValues = Callable[[NDArray[np.uint8], SliceRecord], NDArray[np.uint8]]
"""From the values of a mask file to those of `trainer.datasets.case.SlicePixels`; ValueError where it cannot be."""


def stem_of(file: Path) -> str | None:
    """The name of a NIfTI file without its ending; None of any other file."""
    return next((file.name.removesuffix(end) for end in ENDINGS if file.name.lower().endswith(end)), None)


def volume_named(folder: Path, stem: str) -> Path | None:
    """The NIfTI file of a name, compressed or not."""
    return next((file for end in ENDINGS if (file := folder / f"{stem}{end}").is_file()), None)


def volume_slices(scan: Path, mask: Path | None) -> tuple[tuple[SliceRecord, ...], Unusable | None]:
    """The slices of a scan from the feet up, and why its mask cannot be used, if so; they then go without.

    Both files may be stored in their own order: slices are matched from the feet up.

    Raises
    ------
    ValueError
        The scan cannot be read.
    """
    grid = nifti_grid(scan)
    frames, fault = grid.feet_first, None
    if mask is not None:
        try:
            outlined = nifti_grid(mask)
            _check_same_place(grid, outlined)
            frames = outlined.feet_first
        except ValueError as exc:
            fault, mask = Unusable(str(mask), f"{exc}; the slices go without a mask"), None
    slices = tuple(
        SliceRecord(scan, float(grid.positions_mm[index]), frame=index, mask=mask, mask_frame=frame)
        for index, frame in zip(grid.feet_first, frames, strict=True)
    )
    return slices, fault


def volume_case(
    dataset: str, patient: str, study: str, scan: Path, mask: Path | None, masks: Path
) -> Iterator[Case | Unusable]:
    """A scan as a case, without labels of its own: in ``masks`` every scan should have one, which says them."""
    try:
        slices, fault = volume_slices(scan, mask)
    except ValueError as exc:
        yield Unusable(str(scan), str(exc))
        return
    if mask is None:
        yield Unusable(str(masks / scan.name), "there is no mask of this scan; its slices go without")
    if fault is not None:
        yield fault
    yield Case(dataset, patient, study, slices)


def _check_same_place(scan: NiftiGrid, mask: NiftiGrid) -> None:
    if mask.shape != scan.shape:
        raise ValueError(f"it has {mask.shape} slices, rows and columns, and its scan {scan.shape}")
    steps = (np.ptp(scan.positions_mm) - np.ptp(mask.positions_mm)) / len(scan.positions_mm)
    spacing = np.subtract(scan.spacing_mm, mask.spacing_mm)
    if abs(float(steps)) > _SAME_MM or float(np.abs(spacing).max()) > _SAME_MM:
        raise ValueError("its header says another distance between pixels or slices than that of its scan")


def read_volumes(case: Case, mask_values: MaskValues) -> Iterator[SlicePixels | Unusable]:
    """Pixels in HU and masks of a case of `volume_slices`."""
    scan = NiftiVolume.open(case.slices[0].image)
    masks = opened_mask(case)
    for one in case.slices:
        yield with_mask(one, scan.hu(one.frame), scan.grid.spacing_mm, masks, mask_values)


def opened_mask(case: Case) -> NiftiVolume | None:
    """The mask volume of a case, if it has one."""
    path = case.slices[0].mask
    if path is None:
        return None
    try:
        return NiftiVolume.open(path)
    except ValueError as exc:
        raise ValueError(f"its mask {path} is damaged: {exc}") from exc


def with_mask(
    one: SliceRecord,
    image: NDArray[np.int16] | NDArray[np.uint8],
    spacing_mm: tuple[float, float] | None,
    masks: NiftiVolume | None,
    mask_values: MaskValues,
) -> SlicePixels | Unusable:
    """A slice and its part of a mask volume."""
    if masks is None:
        return SlicePixels(image, spacing_mm, None)
    try:
        return SlicePixels(image, spacing_mm, mask_values(masks.labels(one.mask_frame), one))
    except ValueError as exc:
        return Unusable(f"{one.mask}, slice {one.mask_frame + 1}", str(exc))
