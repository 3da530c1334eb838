"""Nets that read a slice between its neighbours: which one they are shown where, and at the ends of a series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.onnx_models import (
    BLOOD_HU,
    BRAIN_HU,
    classifier_model,
    segmenter_model,
    tiny_bundle,
    tiny_manifest,
    volume_of,
)
from triage.domain.errors import BundleError
from triage.domain.volume import Volume
from triage.inference.bundle import CLASSIFIER, SEGMENTER
from triage.inference.manifest import ModelCard
from triage.inference.predict import Predictor
from triage.inference.preprocess import shown_with

SIZE, SLICES = 64, 6
BESIDE = ModelCard("looks at one of three slices", 0, reads="neighbours")


def predictor(folder: Path, shown: int) -> Predictor:
    """Both nets look at the slice below (0), at the slice itself (1) or at the one above (2)."""
    files = {
        CLASSIFIER: classifier_model(SIZE, shown=shown, of=3),
        SEGMENTER: segmenter_model(SIZE, shown=shown, of=3),
    }
    tiny_bundle(folder, tiny_manifest(SIZE), files, slice_classifier=BESIDE, munet=BESIDE)
    return Predictor.load(folder, "cpu", threads=1)


def bleeding(*slices: int, thickness_mm: float = 5.0, count: int = SLICES, every_mm: float | None = None) -> Volume:
    hu: NDArray[np.float32] = np.full((count, SIZE, SIZE), BRAIN_HU, np.float32)
    hu[list(slices), 20:40, 20:40] = BLOOD_HU
    places = [(every_mm or thickness_mm) * index for index in range(count)]
    return volume_of(hu, places, thickness_mm, (1.0, 1.0))


@pytest.mark.parametrize(("shown", "marked"), [(0, [3]), (1, [2]), (2, [1])])
def test_channels_are_the_slice_below_the_slice_and_the_slice_above(
    tmp_path: Path, shown: int, marked: list[int]
) -> None:
    one, volume = predictor(tmp_path, shown), bleeding(2)
    gate = one.gate(volume)
    assert np.flatnonzero(gate.slice_probabilities[:, 0] > 0.5).tolist() == marked
    found = one.segment(volume, gate)
    assert np.flatnonzero(found.marked.any(axis=(1, 2))).tolist() == marked
    every = one.segment(volume, gate, every_slice=True)
    np.testing.assert_array_equal(every.marked, found.marked)


@pytest.mark.parametrize(("shown", "end"), [(0, 0), (2, SLICES - 1)])
def test_at_the_ends_of_a_series_the_last_slice_stands_for_the_missing_one(
    tmp_path: Path, shown: int, end: int
) -> None:
    one, volume = predictor(tmp_path, shown), bleeding(end)
    marked = one.segment(volume, one.gate(volume), every_slice=True).marked.any(axis=(1, 2))
    beside = end + 1 if shown == 0 else end - 1
    assert sorted(np.flatnonzero(marked)) == sorted([end, beside])


@pytest.mark.parametrize(
    ("places_mm", "rows"),
    [
        pytest.param([0.0], [[0, 0, 0]], id="a single slice is its own neighbour"),
        pytest.param([0.0, 3.0, 6.0], [[0, 0, 1], [0, 1, 2], [1, 2, 2]], id="as far apart as it must be"),
        pytest.param([0.0, 2.9999, 5.9998], [[0, 0, 1], [0, 1, 2], [1, 2, 2]], id="but for rounding"),
        pytest.param([0.0, 9.0, 13.0], [[0, 0, 1], [0, 1, 2], [1, 2, 2]], id="with a gap"),
        pytest.param(
            [0.0, 2.5, 5.0, 7.5], [[0, 0, 2], [0, 1, 3], [0, 2, 3], [1, 3, 3]], id="half of each is the next one"
        ),
        pytest.param([0.0, 4.0, 5.0, 9.0], [[0, 0, 1], [0, 1, 3], [0, 2, 3], [2, 3, 3]], id="one too many"),
    ],
)
def test_neighbours_are_the_nearest_slices_that_do_not_overlap(places_mm: list[float], rows: list[list[int]]) -> None:
    np.testing.assert_array_equal(shown_with(np.array(places_mm), 3.0, "neighbours"), rows)
    alone = [[index] for index in range(len(places_mm))]
    for reads in ("slice", "scan"):
        np.testing.assert_array_equal(shown_with(np.array(places_mm), 3.0, reads), alone)


@pytest.mark.parametrize(("shown", "marked"), [(0, [4]), (1, [2]), (2, [0])])
def test_of_overlapping_slices_every_second_one_is_a_neighbour(tmp_path: Path, shown: int, marked: list[int]) -> None:
    """5 mm every 2.5 mm: the next slice is half the slice itself, where blood of the slice must not seem to go on."""
    one, volume = predictor(tmp_path, shown), bleeding(2, every_mm=2.5)
    found = one.segment(volume, one.gate(volume), every_slice=True).marked.any(axis=(1, 2))
    assert np.flatnonzero(found).tolist() == marked


def test_of_thin_slices_the_neighbours_are_slabs(tmp_path: Path) -> None:
    """Eight slices of 1.25 mm make two slabs of 5 mm: blood in the lower one is shown beside the upper one."""
    one, volume = predictor(tmp_path, 0), bleeding(0, 1, 2, 3, thickness_mm=1.25, count=12)
    gate = one.gate(volume)
    assert [slab.stop - slab.start for slab in gate.slabs] == [4, 4, 4]
    marked = one.segment(volume, gate, every_slice=True).marked.any(axis=(1, 2))
    assert np.flatnonzero(marked).tolist() == list(range(8))


@pytest.mark.parametrize("net", ["slice_classifier", "munet"])
def test_a_net_that_takes_three_channels_cannot_be_said_to_read_neighbours(tmp_path: Path, net: str) -> None:
    tiny_bundle(tmp_path, tiny_manifest(SIZE), **{net: BESIDE})
    with pytest.raises(BundleError, match=r"\.onnx failed while running"):
        Predictor.load(tmp_path, "cpu", threads=1)
