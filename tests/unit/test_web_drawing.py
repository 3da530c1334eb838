"""A slice as a picture: exact grey values, a line beside the blood and never on it, letters on the right sides."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.builders import ct_series, part10
from triage.dicom.codes import SUBTYPE_CODES
from triage.dicom.header import read_header
from triage.dicom.slices import SeriesSlices, series_slices
from triage.domain.finding import KINDS, SUBTYPES, Subtype
from triage.web.drawing import (
    LEAST_SIDE,
    THUMBNAIL_SIDE,
    WINDOWS,
    slice_picture,
    thumbnail_picture,
    windowed,
)

BRAIN = WINDOWS["brain"]


def slices(rows: int = 512, columns: int = 512, **options: object) -> SeriesSlices:
    return series_slices([read_header(part10(ds)) for ds in ct_series(2, rows, columns, spacing_mm=0.5, **options)])


def picture(png: bytes) -> NDArray[np.uint8]:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def coloured(image: NDArray[np.uint8], subtype: Subtype) -> NDArray[np.bool_]:
    return (image == SUBTYPE_CODES[subtype].colour[::-1]).all(axis=2)


def box(subtype: Subtype, shape: tuple[int, int] = (512, 512)) -> NDArray[np.uint8]:
    labels = np.zeros(shape, dtype=np.uint8)
    labels[200:240, 100:130] = KINDS.index(subtype) + 1
    return labels


@pytest.mark.parametrize(("name", "hu", "grey"), [
    ("brain", [-1024, 0, 20, 40, 60, 80, 3000], [0, 0, 64, 128, 191, 255, 255]),
    ("subdural", [-32.5, 75, 182.5, 21.25], [0, 128, 255, 64]),
    ("bone", [-800, 600, 2000, -100], [0, 128, 255, 64]),
])  # fmt: skip
def test_the_window_is_exact_at_known_hu(name: str, hu: list[float], grey: list[int]) -> None:
    assert windowed(np.array([hu], dtype=np.float32), WINDOWS[name]).tolist() == [grey]


def test_without_outline_every_pixel_inside_is_the_windowed_value() -> None:
    hu = np.arange(512 * 512, dtype=np.float32).reshape(512, 512) % 100 - 10
    image = picture(slice_picture(hu, None, slices(), BRAIN))
    assert image.ndim == 2
    inside = np.s_[40:400, 40:240]  # beside the letters
    assert np.array_equal(image[inside], windowed(hu, BRAIN)[inside])


@pytest.mark.parametrize("subtype", KINDS)
def test_the_outline_lies_around_the_blood_and_never_on_it(subtype: Subtype) -> None:
    hu = np.full((512, 512), 60.0, dtype=np.float32)
    labels = box(subtype)
    image = picture(slice_picture(hu, labels, slices(), BRAIN))
    line = coloured(image, subtype)
    assert (image[labels > 0] == 191).all()
    rim = np.zeros_like(line)
    rim[199:241, 99:131] = True
    rim[200:240, 100:130] = False
    assert np.array_equal(line[:460], rim[:460])
    assert line[460:].any(), "the legend shows the colour beside the word"


def test_two_segments_that_touch_are_both_outlined() -> None:
    labels = box(Subtype.SAH)
    labels[200:240, 130:160] = SUBTYPES.index(Subtype.SDH) + 1
    image = picture(slice_picture(np.zeros((512, 512), dtype=np.float32), labels, slices(), BRAIN))
    assert coloured(image, Subtype.SAH)[199, 100:129].all()
    assert coloured(image, Subtype.SDH)[199, 132:160].all()
    assert coloured(image, Subtype.SAH)[205:235, 130].all()


def test_a_small_slice_is_enlarged_by_a_whole_number_and_its_outline_with_it() -> None:
    labels = np.zeros((64, 64), dtype=np.uint8)
    labels[20:24, 30:34] = 2
    image = picture(slice_picture(np.zeros((64, 64), dtype=np.float32), labels, slices(64, 64), BRAIN))
    assert image.shape == (LEAST_SIDE, LEAST_SIDE, 3)
    line = coloured(image, SUBTYPES[1])[:460]
    assert (np.flatnonzero(line.any(axis=1))[[0, -1]].tolist(), np.flatnonzero(line.any(axis=0))[[0, -1]].tolist()) == (
        [159, 192], [239, 272],
    )  # fmt: skip


def test_pixels_become_square() -> None:
    shown = slices(256, 512, PixelSpacing=[1.0, 0.5])
    assert picture(slice_picture(np.zeros((256, 512), dtype=np.float32), None, shown, BRAIN)).shape == (512, 512)


def test_a_stored_slice_that_is_reversed_is_turned_with_its_outline() -> None:
    hu = np.zeros((512, 512), dtype=np.float32)
    hu[:, :256] = 80.0  # stored at the left
    shown = slices(ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    image = picture(slice_picture(hu, box(Subtype.IPH), shown, BRAIN))
    assert image[300, 400, 0] == 255
    assert image[300, 100, 0] == 0
    line = coloured(image, Subtype.IPH)[:460]
    assert np.flatnonzero(line.any(axis=0))[[0, -1]].tolist() == [511 - 130, 511 - 99]


def letters(shown: SeriesSlices) -> dict[str, NDArray[np.uint8]]:
    """What is drawn at each edge of an empty slice."""
    image = picture(slice_picture(np.full((512, 512), -1000.0, dtype=np.float32), None, shown, BRAIN))
    return {
        "right": image[240:272, 488:], "left": image[240:272, :24], "below": image[484:, 240:272],
        "above": image[:28, 240:272],
    }  # fmt: skip


def test_the_letters_stand_at_the_edges_that_they_name() -> None:
    usual, reversed_ = letters(slices()), letters(slices(ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]))
    assert all(part.max() > 150 for part in usual.values())
    assert all(np.array_equal(usual[edge], reversed_[edge]) for edge in usual), "turned, so the letters are the same"
    assert not upper_right(usual["right"]).any(), "an L has nothing there"
    assert upper_right(usual["left"]).any(), "an R has its bow there"


def upper_right(part: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The inner upper right quarter of a letter."""
    ink = part > 150
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    letter = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return letter[: letter.shape[0] // 2, letter.shape[1] // 2 :]


def test_what_does_not_say_where_it_lies_gets_no_letters() -> None:
    nowhere = series_slices([read_header(part10(ds)) for ds in ct_series(2, ImagePositionPatient=None)])
    assert all(part.max() == 0 for part in letters(nowhere).values())


def test_the_thumbnail_is_a_small_square_of_the_head_with_its_outline() -> None:
    hu = np.full((512, 512), -1000.0, dtype=np.float32)
    hu[100:400, 60:300] = 40.0
    image = picture(thumbnail_picture(hu, box(Subtype.SDH), slices(), BRAIN))
    assert image.shape == (THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3)
    assert coloured(image, Subtype.SDH).any()
    rows = np.flatnonzero((image[:, 64] > 0).any(axis=1))
    assert rows[-1] - rows[0] > 0.9 * THUMBNAIL_SIDE, "cut to the head"


def test_one_pixel_of_blood_is_still_outlined_on_the_thumbnail() -> None:
    labels = np.zeros((512, 512), dtype=np.uint8)
    labels[250, 250] = 3
    hu = np.full((512, 512), 40.0, dtype=np.float32)
    image = picture(thumbnail_picture(hu, labels, slices(), BRAIN))
    assert coloured(image, Subtype.IVH).any()


def test_air_alone_makes_a_thumbnail_too() -> None:
    image = picture(thumbnail_picture(np.full((512, 512), -1000.0, dtype=np.float32), None, slices(), BRAIN))
    assert image.shape == (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
