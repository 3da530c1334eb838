"""Slices of a study that is a folder of files: DICOM or pictures, with their masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.datasets.case import SliceRecord, Unusable
from trainer.datasets.nifti import nifti_grid
from trainer.datasets.picture_files import picture_files
from trainer.datasets.series import Ordered, SliceFile, by_series, ordered, read_headers

_AXIAL = frozenset("HF")


@dataclass(frozen=True, slots=True)
class Stack:
    """The slices of a study.

    ``whole`` is false where a file beside them could not be read: it may be one of them, and then nobody knows which
    slice a number means.
    """

    slices: tuple[SliceRecord, ...] = ()
    whole: bool = True


Found = Iterator[Stack | Unusable]


def picture_slices(folder: Path, drawn: Path) -> Found:
    """Pictures in the order of their names; their distances are not known."""
    files, odd = picture_files(folder)
    yield from odd
    masks: dict[str, Path] = {}
    yield from _drawn_masks(drawn, {one.stem for one in files}, masks)
    seen: set[str] = set()
    kept: list[Path] = []
    for file in files:
        if file.stem in seen:
            yield Unusable(str(file), "another picture has the same name")
        else:
            seen.add(file.stem)
            kept.append(file)
    yield Stack(tuple(SliceRecord(file, float(place), mask=masks.get(file.stem)) for place, file in enumerate(kept)))


def dicom_slices(folder: Path, mask: Path | None, drawn: Path, *, ct: bool) -> Found:
    """The longest series of a folder, from the feet up.

    Raises
    ------
    ValueError
        No series is one of axial slices of the wanted kind.
    """
    read, unusable = read_headers([one for one in sorted(folder.iterdir()) if one.is_file()])
    yield from unusable
    fitting: list[SliceFile] = []
    for file in read:
        if (file.header.modality == "CT") == ct:
            fitting.append(file)
        else:
            name = "folder_pictures" if ct else "folder"
            kind = file.header.modality or "of no named modality"
            yield Unusable(str(file.path), f"it is {kind}: prepare it as {name}")
    if not fitting:
        return
    longest, *others = sorted(by_series(fitting), key=len, reverse=True)
    for other in others:
        yield Unusable(str(other[0].path), f"its series of {len(other)} files lies beside one of {len(longest)}")
    stack = ordered(longest)
    if not _AXIAL.isdisjoint("".join(stack.slices.sides)):
        raise ValueError("its slices are not axial")
    if mask is not None:
        try:
            frames = _frames(stack, mask)
        except ValueError as exc:
            yield Unusable(str(mask), f"{exc}; the slices go without a mask")
        else:
            with_frames = zip(stack.files, stack.positions_mm, frames, strict=True)
            framed = tuple(SliceRecord(one.path, mm, mask=mask, mask_frame=frame) for one, mm, frame in with_frames)
            yield Stack(framed, not unusable)
            return
    masks: dict[str, Path] = {}
    yield from _drawn_masks(drawn, {one.path.stem for one in stack.files}, masks)
    places = zip(stack.files, stack.positions_mm, strict=True)
    yield Stack(tuple(SliceRecord(one.path, mm, mask=masks.get(one.path.stem)) for one, mm in places), not unusable)


def _frames(stack: Ordered, mask: Path) -> list[int]:
    """Slices of a mask volume that belong to the files, in their order."""
    grid, first = nifti_grid(mask), stack.files[0].header
    shape = (len(stack.files), first.rows, first.columns)
    if grid.shape != shape:
        raise ValueError(f"it has {grid.shape} slices, rows and columns, and its study {shape}")
    if stack.slices.turn:
        raise ValueError("its study is stored turned, so that the two cannot be laid over each other")
    return grid.feet_first


def _drawn_masks(drawn: Path, stems: set[str], masks: dict[str, Path]) -> Iterator[Unusable]:
    """Fill ``masks`` by the name of the slice."""
    if not drawn.is_dir():
        return
    files, odd = picture_files(drawn)
    yield from odd
    for file in files:
        if file.stem not in stems:
            yield Unusable(str(file), "there is no slice to this mask")
        elif file.stem in masks:
            yield Unusable(str(file), f"{masks[file.stem].name} is a mask of the same slice")
        else:
            masks[file.stem] = file
