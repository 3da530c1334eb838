"""However a scan is stored, the nets see it upright and from the feet up, and outlines lie where it is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from triage.domain.geometry import Turn, upright
from triage.domain.volume import Volume
from triage.inference.bundle import CLASSIFIER, SEGMENTER
from triage.inference.manifest import ModelCard
from triage.inference.predict import Predictor

SIZE = 64
PLACES = [0.0, 5.0, 10.0, 16.0, 22.0, 28.0, 33.0, 38.0]

Orientation = tuple[float, float, float, float, float, float]
Store = Callable[[NDArray[Any]], NDArray[Any]]

PRONE: Orientation = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
MIRRORED: Orientation = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
UPSIDE_DOWN: Orientation = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
EXCHANGED: Orientation = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0)
ON_THE_SIDE: Orientation = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0)

# How a scan (slice, row, column), upright and from the feet up, is stored with each orientation.
STORED: dict[Orientation, Store] = {
    PRONE: lambda scan: scan[:, ::-1, ::-1],
    MIRRORED: lambda scan: scan[::-1, :, ::-1],
    UPSIDE_DOWN: lambda scan: scan[::-1, ::-1],
    EXCHANGED: lambda scan: scan[::-1].swapaxes(1, 2),
    ON_THE_SIDE: lambda scan: scan[:, :, ::-1].swapaxes(1, 2),
}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("bundle")
    tiny_bundle(folder, tiny_manifest(SIZE))
    return Predictor.load(folder, "cpu", threads=1)


def bleeding() -> NDArray[np.float32]:
    """Blood in slices 2 to 4 at the front of the patient's right, for which the nets have a name of its own."""
    hu = np.full((len(PLACES), SIZE, SIZE), BRAIN_HU, np.float32)
    hu[2:5, 6:20, 2:12] = BLOOD_HU
    hu[4, 20:24, 2:9] = BLOOD_HU
    return hu


def stored(scan: NDArray[np.float32], orientation: Orientation) -> Volume:
    """The volume of a scan that was upright and from the feet up before it was stored."""
    down = not volume_of(scan, PLACES, 5.0, (1.0, 1.0), orientation).stack.from_below
    kept = np.ascontiguousarray(STORED[orientation](scan))
    return volume_of(kept, PLACES[::-1] if down else PLACES, 5.0, (1.0, 1.0), orientation)


@pytest.mark.parametrize("orientation", STORED, ids=str)
def test_a_scan_is_found_the_same_however_it_is_stored(predictor: Predictor, orientation: Orientation) -> None:
    """The nets of the tests name a subtype by the column: turned, they would name another."""
    store, scan = STORED[orientation], bleeding()
    plain, turned = volume_of(scan, PLACES, 5.0, (1.0, 1.0)), stored(scan, orientation)
    wanted, found = (predictor.segment(one, predictor.gate(one)) for one in (plain, turned))
    assert found.result.score == pytest.approx(wanted.result.score)
    assert {kind: one.volume_ml for kind, one in found.result.subtypes.items()} == pytest.approx(
        {kind: one.volume_ml for kind, one in wanted.result.subtypes.items()}
    )
    np.testing.assert_array_equal(found.labels, store(wanted.labels))
    np.testing.assert_allclose(
        found.evidence, wanted.evidence if turned.stack.from_below else wanted.evidence[::-1], atol=1e-6
    )
    assert wanted.labels.any()


@pytest.mark.parametrize("orientation", STORED, ids=str)
def test_the_slice_below_is_the_one_nearer_to_the_feet(tmp_path: Path, orientation: Orientation) -> None:
    """Both nets look at the slice below alone: blood in slice 3 is found one slice nearer to the head."""
    beside = ModelCard("looks at the slice below", 0, reads="neighbours")
    files = {CLASSIFIER: classifier_model(SIZE, of=3), SEGMENTER: segmenter_model(SIZE, of=3)}
    tiny_bundle(tmp_path, tiny_manifest(SIZE), files, slice_classifier=beside, munet=beside)
    scan = np.full((len(PLACES), SIZE, SIZE), BRAIN_HU, np.float32)
    scan[3, 20:40, 20:40] = BLOOD_HU
    volume = stored(scan, orientation)
    one = Predictor.load(tmp_path, "cpu", threads=1)
    heights = volume.positions_mm[:, 2]
    assert heights[one.segment(volume, one.gate(volume)).marked.any(axis=(1, 2))].tolist() == [PLACES[4]]


@pytest.mark.parametrize("orientation", [(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), *STORED], ids=str)
def test_a_turn_is_undone(orientation: Orientation) -> None:
    turn, image = upright(np.array(orientation)), np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(turn.undo(turn.apply(image)), image)
    assert bool(turn) == (orientation in STORED)


def test_other_planes_are_left_as_they_are() -> None:
    assert upright(np.array([0.0, 1.0, 0.0, 0.0, 0.0, -1.0])) == Turn()
