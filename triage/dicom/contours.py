"""The outline of a mask as closed lines along the edges of its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Corner = tuple[int, int]

_RIGHT, _DOWN, _LEFT, _UP = (1, 0), (0, 1), (-1, 0), (0, -1)
_TURN_RIGHT = {_RIGHT: _DOWN, _DOWN: _LEFT, _LEFT: _UP, _UP: _RIGHT}


def closed_contours(mask: NDArray[np.bool_]) -> list[list[Corner]]:
    """Trace every border of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (row, column)

    Returns
    -------
    list of list of (column, row)
        Corners of pixels: 0, 0 is the outer corner of the first pixel, and pixel ``n`` ends at ``n + 1``, as
        graphic annotations count (PS3.3 C.10.5.1.2). Only corners where the line turns; the last is the first
        again. The mask lies to the right of the way. Pixels that touch by a corner alone are apart.
    """
    edges = _edges(mask)
    contours = []
    while edges:
        corner, direction = next(iter(edges))
        line = [corner]
        while (corner, direction) in edges:
            del edges[corner, direction]
            corner = (corner[0] + direction[0], corner[1] + direction[1])
            # Where two pixels touch by a corner two edges go on; the right turn stays with the pixel.
            right = _TURN_RIGHT[direction]
            for turned in (right, direction, _TURN_RIGHT[_TURN_RIGHT[right]]):
                if (corner, turned) in edges:
                    break
            if turned != direction:
                line.append(corner)
            direction = turned
        contours.append(line)
    return contours


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[Corner, Corner], None]:
    """Each edge between a pixel of the mask and one outside, as its first corner and direction, in a fixed order."""
    around = np.pad(mask, 1)
    inner = around[1:-1, 1:-1]
    found: dict[tuple[Corner, Corner], None] = {}
    for outside, (down, across), direction in (
        (around[:-2, 1:-1], (0, 0), _RIGHT),
        (around[1:-1, 2:], (0, 1), _DOWN),
        (around[2:, 1:-1], (1, 1), _LEFT),
        (around[1:-1, :-2], (1, 0), _UP),
    ):
        for row, column in np.argwhere(inner & ~outside).tolist():
            found[(column + across, row + down), direction] = None
    return found
