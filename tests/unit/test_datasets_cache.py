"""The cache as it is opened, how slices and masks land on its squares, and what is known from whom."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.datasets.cache import (
    DESCRIPTION,
    MASKS,
    PIXELS,
    RECORDS,
    TABLE,
    CacheSpec,
    Description,
    cache_digest,
    open_cache,
    recomputed_digest,
    slice_digest,
    write_description,
)
from trainer.datasets.case import BLOOD_OF_UNKNOWN_TYPE, NO_BLOOD, NOTHING_KNOWN, Labels
from trainer.datasets.geometry import shrink_image, shrink_mask, square_for
from trainer.datasets.labels import labels_naming, labels_of_mask, labels_of_slices, only_subtype
from trainer.datasets.summary import summary
from triage.domain.finding import Subtype
from triage.inference.preprocess import PreprocessSpec, sample_slices

SIZE = 16
RESIZE = CacheSpec("made", 32)
RASTER = CacheSpec("made", 32, "raster", 4.0)


def written(folder: Path, slices: int = 4) -> Description:
    """A small cache: the last slice could not be used, one study names no patient."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    pixels = rng.integers(-1000, 1000, (slices, SIZE, SIZE)).astype(np.int16)
    masks = np.zeros((slices, SIZE, SIZE), dtype=np.uint8)
    table = np.zeros(slices, dtype=TABLE)
    table["patient"] = [0] * (slices - 1) + [-1]
    table["study"] = [0] * (slices - 2) + [1, 2]
    table["labels"][0] = [1, 0, 1, 0, 0, -1]
    table["usable"] = [True] * (slices - 1) + [False]
    for name, values in ((PIXELS, pixels), (MASKS, masks), (RECORDS, table)):
        np.save(folder / name, values)
    digest = cache_digest(table, map(slice_digest, pixels, masks))
    spec = CacheSpec("made", SIZE)
    said = Description(spec, ("p",), ("s", "t", "u"), slices, 1, digest, "none", "nowhere", lost=2, contradicted=1)
    write_description(folder, said)
    return said


def test_a_cache_is_opened_as_it_was_written(tmp_path: Path) -> None:
    said = written(tmp_path / "cache")
    cache = open_cache(tmp_path / "cache")
    assert cache.description == said
    assert cache.usable.tolist() == [0, 1, 2]
    assert recomputed_digest(cache) == said.digest
    with pytest.raises(ValueError, match="read-only"):
        cache.pixels[0] = 0


@pytest.mark.parametrize("name", [PIXELS, MASKS, RECORDS])
def test_a_changed_file_has_another_digest(name: str, tmp_path: Path) -> None:
    said = written(tmp_path / "cache")
    content = bytearray((tmp_path / "cache" / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / "cache" / name).write_bytes(content)
    assert recomputed_digest(open_cache(tmp_path / "cache")) != said.digest


def test_two_digests_of_slices_in_another_order_differ() -> None:
    table = np.zeros(2, dtype=TABLE)
    one, other = (slice_digest(np.full((4, 4), k, dtype=np.int16), np.zeros((4, 4), np.uint8)) for k in (1, 2))
    assert cache_digest(table, [one, other]) != cache_digest(table, [other, one])


def test_what_is_no_finished_cache_of_this_release_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(ValueError, match="no finished cache: run trainer prepare to its end"):
        open_cache(folder)
    written(folder)
    described = json.loads((folder / DESCRIPTION).read_text())
    for change, sentence in (
        ({"format": 9}, "has format 9; this release reads 1"),
        ({"slices": 3}, "do not fit cache.json"),
        ({"colour": "red"}, "cannot be read by this release"),
    ):
        (folder / DESCRIPTION).write_text(json.dumps({**described, **change}))
        with pytest.raises(ValueError, match=sentence):
            open_cache(folder)


def test_the_summary_counts_only_what_can_be_used(tmp_path: Path) -> None:
    written(tmp_path / "cache")
    lines = summary(open_cache(tmp_path / "cache")).splitlines()
    assert lines[0] == "made: 1 patients, 2 studies, 3 slices"
    assert lines[1] == (
        "slices with blood: any 1 (2 without, 0 unknown), EDH 0 (3 without, 0 unknown), IPH 1 (2 without, 0 unknown), "
        "IVH 0 (3 without, 0 unknown), SAH 0 (3 without, 0 unknown), SDH 0 (2 without, 1 unknown)"
    )
    assert lines[3] == (
        "masks drawn for 0 slices; of 2 nothing is left at this size, the blood is too thin; "
        "1 outline blood in slices that are labelled free of it"
    )
    assert lines[4].startswith("1 files or rows could not be used: ")


def test_resize_takes_the_mean_over_the_whole_image_and_changes_proportions() -> None:
    image = np.arange(64 * 96, dtype=np.int16).reshape(64, 96) // 8
    square = square_for((64, 96), (0.5, 0.25), RESIZE)
    expected = image.reshape(32, 2, 32, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(shrink_image(image, square), np.rint(expected))
    assert square.pixel_mm == pytest.approx(math.sqrt(1.0 * 0.75)), "the square pixel of the same area"


def test_resize_enlarges_without_a_dark_rim() -> None:
    square = square_for((10, 20), None, RESIZE)
    for image in (np.full((10, 20), 200, np.uint8), np.full((10, 20), 40, np.int16)):
        np.testing.assert_array_equal(shrink_image(image, square), np.full((32, 32), image[0, 0]))
    assert math.isnan(square.pixel_mm)


def test_raster_is_that_of_the_daemon() -> None:
    hu = np.random.default_rng(2).integers(-3000, 4000, (50, 60)).astype(np.int16)
    square = square_for((50, 60), (1.5, 2.0), RASTER)
    daemon = sample_slices(hu[None], (1.5, 2.0), PreprocessSpec(size=32, pixel_mm=4.0))[0]
    np.testing.assert_array_equal(shrink_image(hu, square), np.rint(daemon))
    assert square.pixel_mm == 4.0
    assert shrink_image(hu, square)[0, 0] == -1024, "outside the image is air"


def test_raster_needs_the_size_of_a_pixel() -> None:
    with pytest.raises(ValueError, match="does not say how large its pixels are"):
        square_for((8, 8), None, RASTER)


def test_half_of_a_pixel_is_blood_and_of_the_type_that_covers_most() -> None:
    mask = np.zeros((96, 96), dtype=np.uint8)
    mask[0:3, 0:2] = 1  # six of nine
    mask[0:3, 3:4] = 2  # three of nine
    mask[3:5, 0:3] = 3  # six of nine, below which
    mask[5, 0:3] = 4  # three more of another type
    mask[3:6, 3] = 1  # three, three and three of three types
    mask[3:6, 4] = 2
    mask[3:6, 5] = 5
    shrunk = shrink_mask(mask, square_for((96, 96), None, RESIZE))
    assert shrunk.values[:2, :2].tolist() == [[1, 0], [3, 1]]
    assert not shrunk.lost


def test_a_lesion_thinner_than_half_a_pixel_is_lost_and_said_to_be() -> None:
    mask = np.zeros((96, 96), dtype=np.uint8)
    mask[40, :] = 5
    shrunk = shrink_mask(mask, square_for((96, 96), None, RESIZE))
    assert shrunk.lost
    assert not shrunk.values.any()
    mask[41, :] = 5
    assert not shrink_mask(mask, square_for((96, 96), None, RESIZE)).lost
    empty = shrink_mask(np.zeros_like(mask), square_for((96, 96), None, RESIZE))
    assert not empty.lost


@given(st.integers(20, 200), st.integers(20, 200), st.integers(0, 2**32 - 1))
def test_a_mask_keeps_its_area_about_and_its_values(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((rows, columns), dtype=np.uint8)
    top, left = int(rng.integers(rows // 2)), int(rng.integers(columns // 2))
    mask[top : top + rows // 2, left : left + columns // 2] = value = int(rng.integers(1, 7))
    shrunk = shrink_mask(mask, square_for((rows, columns), None, RESIZE)).values
    assert set(np.unique(shrunk)) == {0, value}
    assert (shrunk > 0).mean() == pytest.approx((mask > 0).mean(), abs=2 * 2 * 16 / 32**2 + 1e-9)


def test_labels_of_masks_subtypes_and_slices() -> None:
    mask = np.zeros((4, 4), dtype=np.uint8)
    assert labels_of_mask(mask) == NO_BLOOD
    mask[0, :2] = 1, 5
    assert labels_of_mask(mask) == (1, 1, 0, 0, 0, 1)
    mask[1] = BLOOD_OF_UNKNOWN_TYPE
    assert labels_of_mask(mask) == (1, 1, -1, -1, -1, 1)
    assert labels_naming([Subtype.IVH]) == (1, 0, 0, 1, 0, 0)
    assert labels_naming([]) == NO_BLOOD
    assert labels_of_slices([NO_BLOOD, (1, 0, 1, 0, 0, -1), NO_BLOOD]) == (1, 0, 1, 0, 0, -1)
    assert labels_of_slices([NO_BLOOD, NOTHING_KNOWN]) == NOTHING_KNOWN
    assert labels_of_slices([]) == NOTHING_KNOWN


@pytest.mark.parametrize(
    ("labels", "value"),
    [
        ((1, 0, 0, 1, 0, 0), 3),
        ((1, 1, 0, 1, 0, 0), BLOOD_OF_UNKNOWN_TYPE),
        ((1, 0, 0, 0, 0, 0), BLOOD_OF_UNKNOWN_TYPE),
        ((1, 0, 0, 1, 0, -1), BLOOD_OF_UNKNOWN_TYPE),
        (NOTHING_KNOWN, BLOOD_OF_UNKNOWN_TYPE),
        (NO_BLOOD, BLOOD_OF_UNKNOWN_TYPE),
    ],
)
def test_a_mask_is_of_a_type_only_where_the_labels_leave_no_other(labels: Labels, value: int) -> None:
    assert only_subtype(labels) == value


def test_a_size_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="size must lie in 16"):
        square_for((8, 8), None, replace(RESIZE, size=8))
