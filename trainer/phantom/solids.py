"""Small solid things in the head: soft-edged blobs and tubes, painted only where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trainer.phantom.fields import Floats, ramp
from trainer.phantom.points import Point
from trainer.phantom.sample import Sample

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Blob:
    """A soft-edged ellipsoid of one density.

    ``length`` stretches it along z; ``rough`` is how uneven its surface is as a share of its radius, ``edge_mm``
    how wide its edge.
    """

    centre: Point
    radius_mm: float
    length: float
    hu: float
    rough: float = 0.0
    edge_mm: float = 1.0


@dataclass(frozen=True, slots=True)
class Tube:
    """A vessel through ``path`` with one density."""

    path: tuple[Point, ...]
    radius_mm: float
    hu: float


def blob_share(sample: Sample, points: Floats, blob: Blob) -> tuple[Box, Floats] | None:
    """Where ``blob`` may lie, and the share 0..1 of it there; None where ``points`` (3, ...) miss it."""
    reach = blob.radius_mm * (1 + 3 * blob.rough) * max(1.0, blob.length) + blob.edge_mm
    box = around(points, blob.centre, reach)
    if box is None:
        return None
    x, y, z = (points[axis][box] - np.float32(blob.centre[axis]) for axis in range(3))
    distance = np.sqrt(x * x + y * y + (z / np.float32(blob.length)) ** 2)
    if blob.rough:
        distance += np.float32(blob.rough * blob.radius_mm) * (0.8 * sample.broad[1][box] + 0.5 * sample.fine[0][box])
    return box, ramp(blob.radius_mm - distance, blob.edge_mm)


def paint_blob(hu: Floats, sample: Sample, points: Floats, blob: Blob) -> None:
    """Put ``blob`` into ``hu`` (slice, row, column) in place."""
    found = blob_share(sample, points, blob)
    if found is not None:
        box, share = found
        hu[box] += (blob.hu - hu[box]) * share


def paint_tubes(hu: Floats, points: Floats, tubes: Sequence[Tube]) -> None:
    """Put vessels into ``hu`` (slice, row, column) in place."""
    for tube in tubes:
        for start, end in pairwise(np.array(tube.path, np.float32)):
            centre, half = (start + end) / 2, np.abs(end - start) / 2
            box = _around(points, centre, half + tube.radius_mm + 1)
            if box is None:
                continue
            x, y, z = (points[axis][box] - start[axis] for axis in range(3))
            along = end - start
            share = (x * along[0] + y * along[1] + z * along[2]) / np.float32(along @ along + 1e-6)
            np.clip(share, 0, 1, out=share)
            apart = np.sqrt(sum((part - share * along[axis]) ** 2 for axis, part in enumerate((x, y, z))))
            hu[box] += (tube.hu - hu[box]) * ramp(tube.radius_mm - apart)


def around(points: Floats, centre: Point, reach_mm: float) -> Box | None:
    """Index box of the ``points`` (3, slice, row, column) within ``reach_mm`` of ``centre`` along every axis."""
    return _around(points, np.array(centre, np.float32), np.full(3, reach_mm, np.float32))


def _around(points: Floats, centre: Floats, reach_mm: Floats) -> Box | None:
    """As `around`, a reach for each axis. Looked for on every fourth pixel, so with a margin of four."""
    few = points[:, :, ::4, ::4]
    step = np.abs(few[:, 0, 0, -1] - few[:, 0, 0, 0]) / max(few.shape[3] - 1, 1)
    margin = reach_mm + max(float(step.max()), 1.0)
    near = np.abs(few[0] - centre[0]) < margin[0]
    for axis in (1, 2):
        near &= np.abs(few[axis] - centre[axis]) < margin[axis]
    rows, columns = np.nonzero(near.any(axis=0))
    if not len(rows):
        return None
    top, left = max(int(rows.min()) * 4 - 4, 0), max(int(columns.min()) * 4 - 4, 0)
    return slice(None), slice(top, int(rows.max()) * 4 + 8), slice(left, int(columns.max()) * 4 + 8)
