"""Contours run along the edges of pixels, close, and hold exactly the mask."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from triage.dicom.contours import Corner, closed_contours


def filled(contours: list[list[Corner]], shape: tuple[int, int]) -> NDArray[np.int64]:
    """How often the contours wind around each pixel: 1 inside, 0 outside and in holes."""
    winding = np.zeros(shape, dtype=np.int64)
    for contour in contours:
        for (column, row), (_, to_row) in pairwise(contour):
            low, high = sorted((row, to_row))
            winding[low:high, column:] += np.sign(row - to_row)
    return winding


def test_a_rectangle_is_its_four_corners() -> None:
    mask = np.zeros((10, 12), dtype=np.bool_)
    mask[2:5, 3:9] = True
    assert closed_contours(mask) == [[(3, 2), (9, 2), (9, 5), (3, 5), (3, 2)]]


def test_one_pixel_is_a_square_of_one() -> None:
    mask = np.zeros((3, 3), dtype=np.bool_)
    mask[0, 0] = True
    assert closed_contours(mask) == [[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]]


def test_a_mask_up_to_the_border_ends_at_the_border() -> None:
    assert closed_contours(np.ones((4, 6), dtype=np.bool_)) == [[(0, 0), (6, 0), (6, 4), (0, 4), (0, 0)]]


def test_a_hole_runs_the_other_way() -> None:
    mask = np.ones((5, 5), dtype=np.bool_)
    mask[2, 2] = False
    outer, hole = closed_contours(mask)
    assert outer == [(0, 0), (5, 0), (5, 5), (0, 5), (0, 0)]
    assert hole == [(2, 3), (3, 3), (3, 2), (2, 2), (2, 3)]


def test_pixels_that_touch_by_a_corner_are_apart() -> None:
    assert len(closed_contours(np.eye(3, dtype=np.bool_))) == 3


def test_nothing_has_no_contour() -> None:
    assert closed_contours(np.zeros((4, 4), dtype=np.bool_)) == []


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_contours_hold_the_mask_and_turn_at_every_corner(mask: NDArray[np.bool_]) -> None:
    contours = closed_contours(mask)
    np.testing.assert_array_equal(filled(contours, mask.shape), mask)
    for contour in contours:
        assert contour[0] == contour[-1]
        ring = [*contour, contour[1]]
        across = [a[1] == b[1] for a, b in pairwise(ring)]
        assert all((a[0] == b[0]) != (a[1] == b[1]) for a, b in pairwise(ring))
        assert all(one != other for one, other in pairwise(across))
