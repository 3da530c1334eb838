"""How far the outlines of two masks of one slice lie apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt


def surface_distance(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Mean distance from each outline to the other, both ways, in pixels; nan unless both have pixels.

    The definition is that of ``monai.metrics.compute_average_surface_distance(symmetric=True)``; here only the box
    around both masks is looked at, which makes it cheap enough for every slice.
    """
    if not first.any() or not second.any():
        return float("nan")
    either = first | second
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    outlines = [mask & ~binary_erosion(mask) for mask in (np.pad(first[box], 1), np.pad(second[box], 1))]
    away = [distance_transform_edt(~outline) for outline in outlines]
    distances = np.concatenate([away[1][outlines[0]], away[0][outlines[1]]])
    return float(distances.mean())
