"""One study into its rows of the arrays: what a worker of ``trainer prepare`` does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from trainer.datasets.arrays import ArrayFile
from trainer.datasets.cache import MASKS, PIXELS, RECORDS, TABLE, CacheSpec, slice_digest
from trainer.datasets.case import NO, NOTHING_KNOWN, UNKNOWN, Case, Dataset, Labels, SlicePixels, SliceRecord, Unusable
from trainer.datasets.geometry import ShrunkMask, shrink_image, shrink_mask, square_for
from trainer.datasets.index import StudyAnswer, StudyTask
from trainer.datasets.labels import labels_of_mask, labels_of_slices


@dataclass(frozen=True, slots=True)
class StudyWriter:
    """Writes studies into the arrays of one folder; in any process, and a study twice if need be: the same bytes.

    What the data set says of a slice stands. Where it says nothing at all, a mask that somebody drew says it.
    """

    dataset: Dataset
    folder: Path
    spec: CacheSpec

    def __call__(self, task: StudyTask) -> StudyAnswer:
        """Write the rows of a study, put them on disk, and say what came of it."""
        count = len(task.case.slices)
        pixels = ArrayFile.of(self.folder / PIXELS).rows(task.start, count)
        mask_file = ArrayFile.of(self.folder / MASKS)
        masks = mask_file.rows(task.start, count)
        records = np.zeros(count, dtype=TABLE)
        records["patient"], records["study"], records["pixel_mm"] = task.patient, task.number, np.nan
        unusable: list[Unusable] = []
        digests: list[bytes] = []
        lost = contradicted = 0
        dark = np.zeros((self.spec.size, self.spec.size), dtype=np.uint8)
        for row, (said, found) in enumerate(zip(task.case.slices, self._read(task.case), strict=True)):
            record = records[row]
            record["position_mm"], record["labels"] = said.position_mm, said.labels
            outlined = dark
            try:
                if isinstance(found, Unusable):
                    unusable.append(found)
                else:
                    pixels[row], mask, record["pixel_mm"] = self._placed(found)
                    record["usable"] = True
                    if found.mask is not None and mask is not None:
                        record["drawn"] = True
                        record["labels"] = _labels(said, found.mask)
                        lost += mask.lost
                        contradicted += said.labels[0] == NO and bool(found.mask.any())
                        if mask.values.any():  # rows without blood stay holes of the file
                            mask_file.take_room(task.start + row, 1)
                            masks[row] = outlined = mask.values
            except ValueError as exc:
                unusable.append(Unusable(str(said.image), str(exc)))
            digests.append(slice_digest(pixels[row], outlined))
        known = [cast(Labels, tuple(map(int, labels))) for labels in records["labels"]]
        records["study_labels"] = _study_labels(task.case.labels, known)
        pixels.flush()
        masks.flush()
        table = ArrayFile.of(self.folder / RECORDS).rows(task.start, count)
        table[:] = records
        table.flush()
        return StudyAnswer(task.number, count, b"".join(digests), lost, contradicted, tuple(unusable))

    def _placed(self, found: SlicePixels) -> tuple[np.ndarray, ShrunkMask | None, float]:
        """Image, mask and pixel side on the square of the cache."""
        if found.image.dtype != (np.uint8 if self.spec.pictures else np.int16):
            raise ValueError(f"its pixels are {found.image.dtype}, unlike those of the rest of this data set")
        shape = (found.image.shape[0], found.image.shape[1])
        square = square_for(shape, found.spacing_mm, self.spec)
        mask = shrink_mask(found.mask, square) if found.mask is not None else None
        return shrink_image(found.image, square), mask, square.pixel_mm

    def _read(self, case: Case) -> Iterator[SlicePixels | Unusable]:
        """As the adapter reads; what breaks a whole study is said of each of its slices that are left."""
        done = 0
        try:
            for found in self.dataset.read(case):
                yield found
                done += 1
        except (OSError, ValueError) as exc:
            for said in case.slices[done:]:
                yield Unusable(str(said.image), " ".join(str(exc).split()))


def _labels(said: SliceRecord, mask: np.ndarray) -> Labels:
    return labels_of_mask(mask) if said.labels == NOTHING_KNOWN else said.labels


def _study_labels(said: Labels, slices: list[Labels]) -> Labels:
    """What the data set says of the study; where it says nothing, what the slices say together."""
    if said == NOTHING_KNOWN:
        return labels_of_slices(slices)
    if said[0] == NO:
        return said
    together = labels_of_slices(slices)
    joined = (one if one != UNKNOWN else other for one, other in zip(said, together, strict=True))
    return cast(Labels, tuple(joined))
