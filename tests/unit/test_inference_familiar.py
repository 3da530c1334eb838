"""A bundle that knows what it learned from refuses what lies far from it; one that does not answers as before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.familiar_models import knowing_bundle, knowing_classifier
from tests.onnx_models import BLOOD_HU, ball, tiny_bundle, tiny_manifest, volume_of
from triage.domain.errors import BundleError, UnusableSeries
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.volume import Volume
from triage.inference.bundle import CLASSIFIER
from triage.inference.familiar import check_familiar, exam_distance
from triage.inference.manifest import ModelCard, format_manifest, parse_manifest
from triage.inference.predict import Predictor
from triage.inference.session import CUDA

SIZE = 128
SHAPE = (12, 160, 160)
MANIFEST = tiny_manifest(SIZE)
SCAN = ModelCard("reads scans", 0, reads="scan")


def volume(hu: float, *, bleeding: bool = False, step_mm: float = 5.0, slices: int = SHAPE[0]) -> Volume:
    """A block of one value, perhaps with a ball of blood in it; the field of the nets sees nothing else."""
    values = np.full((slices, *SHAPE[1:]), hu, np.float32)
    if bleeding:
        values[ball(values.shape, (step_mm, 0.8, 0.8), (step_mm * slices / 2, 0.0, 0.0), 14.0)] = BLOOD_HU
    return volume_of(values, [step_mm * i for i in range(slices)], step_mm, (0.8, 0.8))


@pytest.mark.parametrize(
    ("distances", "expected"),
    [([1.0], 1.0), ([1.0, 3.0], 2.0), ([1.0, 1.2, 1.4, 90.0], 1.3), ([5.0, 1.0, 1.0, 2.0, 2.0, 2.0, 0.0, 9.0], 1.75)],
)
def test_the_middle_half_speaks_for_a_scan(distances: list[float], expected: float) -> None:
    assert exam_distance(np.array(distances, np.float32)) == pytest.approx(expected)


def test_a_quarter_of_odd_slices_refuses_no_head_and_half_of_them_does() -> None:
    few = np.r_[np.full(15, 1.0), np.full(5, 100.0)]
    check_familiar(few, 2.0)
    check_familiar(np.r_[np.full(15, 1.0), np.full(5, np.inf)], 2.0)
    with pytest.raises(UnusableSeries, match=r"its distance is 50\.50, and at most 2\.00 is familiar\.") as caught:
        check_familiar(np.r_[np.full(10, 1.0), np.full(10, 100.0)], 2.0)
    assert caught.value.reason is ReasonCode.OUT_OF_DISTRIBUTION
    assert str(caught.value).startswith("Looks unlike all heads that the model learned from")


@pytest.mark.parametrize(
    "distances",
    [np.full(8, np.nan), np.full(8, np.inf), np.r_[np.nan, np.full(20, 1.0)]],
    ids=["nan", "inf", "one nan"],
)
def test_what_cannot_be_measured_is_not_familiar(distances: np.ndarray) -> None:
    with pytest.raises(UnusableSeries, match="cannot even be measured"):
        check_familiar(distances, 1e9)


def test_at_the_limit_is_familiar() -> None:
    check_familiar(np.full(6, 2.0), 2.0)


@pytest.mark.parametrize("card", [MANIFEST.slice_classifier, SCAN], ids=["by slice", "by scan"])
def test_the_familiar_is_analysed_and_the_rest_refused(tmp_path: Path, card: ModelCard) -> None:
    knowing_bundle(tmp_path, MANIFEST, slice_classifier=card, familiar_within=2.0)
    predictor = Predictor.load(tmp_path, "cpu", threads=1)
    head = volume(30.0, bleeding=True)
    gate = predictor.gate(head)
    assert gate.distances is not None
    assert gate.distances.shape == (SHAPE[0],)
    np.testing.assert_allclose(gate.distances, 1.0, atol=0.15)
    assert predictor.segment(head, gate).result.status is WorklistStatus.SUSPECTED
    with pytest.raises(UnusableSeries, match=r"distance is 4\.00") as caught:
        predictor.gate(volume(400.0))
    assert caught.value.reason is ReasonCode.OUT_OF_DISTRIBUTION


def test_distances_are_those_of_slabs(tmp_path: Path) -> None:
    knowing_bundle(tmp_path, MANIFEST, familiar_within=2.0)
    gate = Predictor.load(tmp_path, "cpu", threads=1).gate(volume(30.0, step_mm=1.25, slices=40))
    assert gate.distances is not None
    assert len(gate.distances) == len(gate.slabs) == 10


class InEights(Predictor):
    """Cuts batches as on a GPU."""

    @property
    def provider(self) -> str:
        return CUDA


def test_batches_of_a_gpu_give_the_same_and_refuse_the_same(tmp_path: Path) -> None:
    knowing_bundle(tmp_path, MANIFEST, familiar_within=2.0)
    one, other = Predictor.load(tmp_path, "cpu", threads=1), InEights.load(tmp_path, "cpu", threads=1)
    head = volume(30.0, bleeding=True)
    singly, in_eights = one.gate(head), other.gate(head)
    assert singly.distances is not None
    assert in_eights.distances is not None
    np.testing.assert_allclose(in_eights.distances, singly.distances, rtol=1e-6)
    np.testing.assert_allclose(in_eights.slice_probabilities, singly.slice_probabilities, rtol=1e-6)
    with pytest.raises(UnusableSeries, match="Looks unlike all heads"):
        other.gate(volume(400.0))


def test_measuring_asks_whatever_the_distance(tmp_path: Path) -> None:
    knowing_bundle(tmp_path, MANIFEST, familiar_within=2.0)
    gate = Predictor.load(tmp_path, "cpu", threads=1).gate(volume(400.0), whatever=True)
    assert gate.distances is not None
    np.testing.assert_allclose(gate.distances, 4.0, rtol=1e-5)


def test_without_a_limit_nothing_is_refused_and_the_distance_is_there(tmp_path: Path) -> None:
    knowing_bundle(tmp_path, MANIFEST)
    gate = Predictor.load(tmp_path, "cpu", threads=1).gate(volume(400.0))
    assert gate.distances is not None


def test_a_bundle_that_knows_nothing_of_it_answers_as_before(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "plain", MANIFEST)
    knowing_bundle(tmp_path / "knowing", MANIFEST, familiar_within=2.0)
    plain, knowing = (Predictor.load(tmp_path / name, "cpu", threads=1) for name in ("plain", "knowing"))
    assert plain.gate(volume(400.0)).distances is None
    head = volume(30.0, bleeding=True)
    one, other = plain.gate(head), knowing.gate(head)
    np.testing.assert_array_equal(one.slice_probabilities, other.slice_probabilities)
    assert one.result == other.result


def test_a_limit_needs_a_classifier_that_gives_distances(tmp_path: Path) -> None:
    tiny_bundle(tmp_path, MANIFEST, familiar_within=2.0)
    with pytest.raises(BundleError, match="must take 'image' and give logits, distance"):
        Predictor.load(tmp_path, "cpu", threads=1)


@pytest.mark.parametrize("limit", [None, 2.0])
def test_distances_of_another_shape_are_refused_at_load(tmp_path: Path, limit: float | None) -> None:
    tiny_bundle(tmp_path, MANIFEST, {CLASSIFIER: knowing_classifier(SIZE, width=2)}, familiar_within=limit)
    with pytest.raises(BundleError, match="gives distance as float32"):
        Predictor.load(tmp_path, "cpu", threads=1)


def test_the_key_survives_the_file_and_is_absent_where_there_is_no_limit() -> None:
    said = replace(MANIFEST, familiar_within=2.5)
    assert json.loads(format_manifest(said))["familiar_within"] == 2.5
    assert parse_manifest(format_manifest(said)) == said
    assert "familiar_within" not in json.loads(format_manifest(MANIFEST))
    assert parse_manifest(format_manifest(MANIFEST)).familiar_within is None


@pytest.mark.parametrize("limit", [0.0, -1.0])
def test_no_scan_lies_within_nothing(limit: float) -> None:
    with pytest.raises(ValueError, match="familiar_within must be above 0"):
        replace(MANIFEST, familiar_within=limit)
