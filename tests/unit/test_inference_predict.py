"""From volume to result with nets made by hand: place, key slice, volume and decision are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from tests.onnx_models import (
    BLOOD_HU,
    BRAIN_HU,
    LostGpu,
    ball,
    classifier_model,
    tiny_bundle,
    tiny_manifest,
    volume_of,
)
from triage.domain.errors import BundleError, ProviderUnavailable
from triage.domain.finding import SUBTYPES, KeySlice, Subtype, Urgency, WorklistStatus
from triage.domain.volume import Volume
from triage.inference.bundle import CLASSIFIER, SEGMENTER
from triage.inference.manifest import Calibration, ExamCalibration, GateCalibration, Scoring, Thresholds
from triage.inference.predict import Analysis, OpenNet, Predictor
from triage.inference.session import CPU, Device, Session, open_session

SIZE = 128
SHAPE = (12, 160, 160)
SPACING = (5.0, 0.8, 0.8)
MANIFEST = tiny_manifest(SIZE)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("bundle")
    tiny_bundle(folder, MANIFEST)
    return Predictor.load(folder, "cpu", threads=1)


def brain(*masks: NDArray[np.bool_], shape: tuple[int, int, int] = SHAPE) -> NDArray[np.float32]:
    hu = np.full(shape, BRAIN_HU, np.float32)
    for mask in masks:
        hu[mask] = BLOOD_HU
    return hu


def analyse(predictor: Predictor, volume: Volume, every_slice: bool = False) -> Analysis:
    return predictor.segment(volume, predictor.gate(volume), every_slice)


def volume_at(hu: NDArray[np.float32], positions: Sequence[float] | None = None) -> Volume:
    return volume_of(hu, positions, 5.0, SPACING[1:])


def test_load_says_what_runs(predictor: Predictor) -> None:
    assert predictor.provider == "CPUExecutionProvider"
    assert predictor.bundle.name == "tiny"


def test_nothing_lit_is_not_suspected_and_names_every_subtype(predictor: Predictor) -> None:
    volume = volume_at(brain())
    gate = predictor.gate(volume)
    assert gate.result.provisional
    assert gate.result.status is WorklistStatus.NOT_SUSPECTED
    analysis = predictor.segment(volume, gate)
    result = analysis.result
    assert not result.provisional
    assert (result.status, result.urgency) == (WorklistStatus.NOT_SUSPECTED, Urgency.NONE)
    assert result.score == gate.result.score < 0.01
    assert set(result.subtypes) == set(SUBTYPES)
    assert {f.volume_ml for f in result.subtypes.values()} == {0.0}
    assert (result.total_volume_ml, result.key_slice, analysis.slices_segmented) == (0.0, None, 0)
    assert not analysis.labels.any()
    assert not analysis.evidence.any()


def test_one_ball_is_found_named_measured_and_shown(predictor: Predictor) -> None:
    mask = ball(SHAPE, SPACING, (25.0, 10.0, 0.0), 12.0)
    volume = volume_at(brain(mask))
    gate = predictor.gate(volume)
    assert gate.result.status is WorklistStatus.SUSPECTED
    assert gate.result.key_slice is not None
    assert abs(gate.result.key_slice.index - 5) <= 1
    analysis = predictor.segment(volume, gate)
    result = analysis.result
    assert result.status is WorklistStatus.SUSPECTED
    assert result.urgency is Urgency.EMERGENT
    assert result.key_slice == KeySlice("2.25.105", 1, 5)
    assert result.total_volume_ml == pytest.approx(volume.mask_ml(mask), rel=0.02)
    assert result.subtypes[Subtype.IVH].volume_ml == pytest.approx(volume.mask_ml(mask), rel=0.02)
    assert np.unique(analysis.labels).tolist() == [0, 3]
    assert result.subtypes[Subtype.IVH].probability == pytest.approx(result.score)
    assert result.subtypes[Subtype.EDH].probability < 0.01
    overlap = 2 * (mask & (analysis.labels > 0)).sum() / (mask.sum() + (analysis.labels > 0).sum())
    assert overlap > 0.98


def test_volumes_are_those_of_the_volume_itself(predictor: Predictor) -> None:
    masks = [ball(SHAPE, SPACING, (25.0, 0.0, x), 9.0) for x in (-50.0, 50.0)]
    volume = volume_at(brain(*masks))
    analysis = analyse(predictor, volume)
    for index, subtype in enumerate(SUBTYPES, start=1):
        assert analysis.result.subtypes[subtype].volume_ml == volume.mask_ml(analysis.labels == index)
    found = {s for s, f in analysis.result.subtypes.items() if f.volume_ml > 0}
    assert found == {Subtype.EDH, Subtype.SDH}
    assert analysis.result.total_volume_ml == pytest.approx(volume.mask_ml(analysis.labels > 0))


def test_probabilities_are_made_where_asked_for(predictor: Predictor) -> None:
    volume = volume_at(brain(*(ball(SHAPE, SPACING, (25.0, 0.0, x), 9.0) for x in (-50.0, 50.0))))
    gate = predictor.gate(volume)
    plain, analysis = predictor.segment(volume, gate), predictor.segment(volume, gate, probabilities=True)
    assert plain.probabilities is None
    assert analysis.result == plain.result
    assert np.array_equal(analysis.labels, plain.labels)
    assert analysis.probabilities is not None
    assert set(analysis.probabilities) == {Subtype.EDH, Subtype.SDH}
    stacked = np.stack([analysis.probabilities.get(s, np.zeros_like(analysis.labels)) for s in SUBTYPES])
    outlined = analysis.labels > 0
    assert stacked.dtype == np.uint8
    assert np.array_equal(stacked[:, outlined].argmax(axis=0) + 1, analysis.labels[outlined])
    limit = 255 * predictor.bundle.manifest.thresholds.mask_probability
    assert stacked.sum(axis=0, dtype=int)[outlined].min() >= limit - 3
    assert not stacked[:, ~outlined.any(axis=(1, 2))].any()


def test_probabilities_of_nothing_are_none_at_all(predictor: Predictor) -> None:
    volume = volume_at(brain())
    assert predictor.segment(volume, predictor.gate(volume), probabilities=True).probabilities == {}


def test_left_stays_left(predictor: Predictor) -> None:
    """Columns and rows are neither mirrored nor swapped on the way."""
    mask = ball(SHAPE, SPACING, (25.0, -40.0, -51.0), 9.0)
    analysis = analyse(predictor, volume_at(brain(mask)))
    rows, columns = np.nonzero(analysis.labels[5])
    was_rows, was_columns = np.nonzero(mask[5])
    assert rows.mean() == pytest.approx(was_rows.mean(), abs=0.5)
    assert columns.mean() == pytest.approx(was_columns.mean(), abs=0.5)
    assert np.unique(analysis.labels).tolist() == [0, 1]


def test_only_lit_slices_and_their_neighbours_are_segmented(predictor: Predictor) -> None:
    hu = brain()
    hu[5, 100:130, 100:130] = BLOOD_HU
    volume = volume_at(hu)
    assert analyse(predictor, volume).slices_segmented == 3
    assert analyse(predictor, volume, every_slice=True).slices_segmented == len(hu)


def test_every_slice_changes_nothing_where_the_gate_saw_all(predictor: Predictor) -> None:
    volume = volume_at(brain(ball(SHAPE, SPACING, (25.0, 10.0, 0.0), 12.0)))
    some, every = analyse(predictor, volume), analyse(predictor, volume, every_slice=True)
    assert np.array_equal(some.labels, every.labels)
    assert some.result.score == pytest.approx(every.result.score, abs=1e-9)


def test_a_bundle_that_means_logits_doubts_a_slice_whose_neighbours_deny(predictor: Predictor, tmp_path: Path) -> None:
    """Both nets are certain of the one slice and certain that the others show nothing."""
    tiny_bundle(tmp_path, MANIFEST, scoring=Scoring(means="logits"))
    doubting, hu = Predictor.load(tmp_path, "cpu", threads=1), brain()
    hu[5, 60:100, 60:100] = BLOOD_HU
    lonely, hu = volume_at(hu), hu.copy()
    hu[4:7, 60:100, 60:100] = BLOOD_HU
    for volume, believed in ((lonely, False), (volume_at(hu), True)):
        provisional = doubting.gate(volume).result
        final = analyse(doubting, volume).result
        assert (provisional.score > 0.5, final.score > 0.5) == (believed, believed)
        assert analyse(predictor, volume).result.score > final.score or believed


def test_the_same_volume_gives_the_same_bytes(predictor: Predictor) -> None:
    hu = brain(ball(SHAPE, SPACING, (20.0, 10.0, 20.0), 15.0))
    hu += np.random.default_rng(0).normal(0, 4, hu.shape).astype(np.float32)
    first, second = analyse(predictor, volume_at(hu)), analyse(predictor, volume_at(hu.copy()))
    assert first.result == second.result
    assert first.labels.tobytes() == second.labels.tobytes()
    assert first.evidence.tobytes() == second.evidence.tobytes()


def test_the_key_slice_has_the_largest_area(predictor: Predictor) -> None:
    hu = brain()
    for index, side in ((4, 20), (5, 24), (6, 40), (7, 22)):
        hu[index, 100 : 100 + side, 110 : 110 + side] = BLOOD_HU
    result = analyse(predictor, volume_at(hu)).result
    assert result.key_slice == KeySlice("2.25.106", 1, 6)


def test_uneven_slices_are_measured_by_their_own_extent(predictor: Predictor) -> None:
    positions = [0.0, 4.0, 8.0, 12.0, 13.0, 20.0, 27.0, 34.0]
    hu = np.full((8, 160, 160), BRAIN_HU, np.float32)
    hu[2:7, 100:140, 100:150] = BLOOD_HU
    volume = volume_of(hu, positions, [4.0] * 4 + [7.0] * 4, (0.8, 0.8))
    expected = volume.mask_ml(hu == BLOOD_HU)
    assert analyse(predictor, volume).result.total_volume_ml == pytest.approx(expected, rel=0.02)


def test_thin_slices_share_what_their_slab_was_given(predictor: Predictor) -> None:
    shape, spacing = (60, 160, 160), (1.0, 0.8, 0.8)
    mask = ball(shape, spacing, (30.0, 5.0, 3.0), 16.0)
    volume = volume_of(brain(mask, shape=shape), [float(i) for i in range(60)], 1.0, (0.8, 0.8))
    gate = predictor.gate(volume)
    assert len(gate.slabs) == 12
    assert gate.slice_probabilities.shape == (60, 6)
    analysis = predictor.segment(volume, gate)
    assert all(np.array_equal(analysis.labels[s.start], analysis.labels[s.stop - 1]) for s in gate.slabs)
    assert analysis.result.total_volume_ml == pytest.approx(volume.mask_ml(mask), rel=0.06)
    assert analysis.result.key_slice is not None
    assert abs(analysis.result.key_slice.index - 30) <= 5
    assert analysis.slices_segmented % 5 == 0


def test_small_pieces_are_dropped_before_they_are_measured(tmp_path: Path) -> None:
    manifest = replace(MANIFEST, thresholds=Thresholds(gate=0.2, suspected=0.5, emergent=0.9, minimum_component_ml=1.0))
    tiny_bundle(tmp_path, manifest)
    predictor = Predictor.load(tmp_path, "cpu", threads=1)
    hu = brain(ball(SHAPE, SPACING, (25.0, 0.0, 0.0), 12.0))
    hu[5, 20:24, 130:134] = BLOOD_HU
    analysis = analyse(predictor, volume_at(hu))
    assert not analysis.labels[:, :40, 120:].any()
    assert analysis.labels.any()


def test_an_unconvinced_score_reports_no_outline_but_keeps_the_marks(tmp_path: Path) -> None:
    """A report that says absent never carries a segmentation; for measuring the marks are still there."""
    manifest = replace(MANIFEST, calibration=Calibration(final=ExamCalibration(0.01, 0.0, -3.0)))
    tiny_bundle(tmp_path, manifest)
    predictor = Predictor.load(tmp_path, "cpu", threads=1)
    analysis = analyse(predictor, volume_at(brain(ball(SHAPE, SPACING, (25.0, 10.0, 0.0), 12.0))))
    assert analysis.result.status is WorklistStatus.NOT_SUSPECTED
    assert analysis.result.total_volume_ml == 0.0
    assert analysis.result.key_slice is None
    assert not analysis.labels.any()
    assert analysis.marked.any()


def test_suspicion_without_outline_still_shows_a_slice(tmp_path: Path) -> None:
    manifest = replace(MANIFEST, calibration=Calibration(mask_temperature=1e5, final=ExamCalibration(0.0, 1.0, 0.0)))
    manifest = replace(manifest, thresholds=replace(manifest.thresholds, mask_probability=0.9))
    tiny_bundle(tmp_path, manifest)
    predictor = Predictor.load(tmp_path, "cpu", threads=1)
    analysis = analyse(predictor, volume_at(brain(ball(SHAPE, SPACING, (25.0, 10.0, 0.0), 12.0))))
    assert analysis.result.status is WorklistStatus.SUSPECTED
    assert analysis.result.total_volume_ml == 0.0
    assert not analysis.labels.any()
    assert analysis.result.key_slice is not None
    assert analysis.evidence[analysis.result.key_slice.index, 0] == analysis.evidence[:, 0].max()


def test_temperature_softens_the_gate(tmp_path: Path, predictor: Predictor) -> None:
    manifest = replace(MANIFEST, calibration=Calibration(classifier_temperature=(4.0,) * 6))
    tiny_bundle(tmp_path, manifest)
    soft = Predictor.load(tmp_path, "cpu", threads=1)
    volume = volume_at(brain(ball(SHAPE, SPACING, (25.0, 10.0, 0.0), 12.0)))
    sharp_logits = np.log(predictor.gate(volume).slice_probabilities / (1 - predictor.gate(volume).slice_probabilities))
    soft_logits = np.log(soft.gate(volume).slice_probabilities / (1 - soft.gate(volume).slice_probabilities))
    assert soft_logits * 4.0 == pytest.approx(sharp_logits, rel=1e-6)


def test_a_gate_below_its_limit_can_never_end_suspected(tmp_path: Path) -> None:
    """The promise that the manifest checks, seen from outside."""
    manifest = replace(
        MANIFEST,
        thresholds=Thresholds(gate=0.4, suspected=0.5, emergent=0.9),
        calibration=Calibration(provisional=GateCalibration(2.0, 0.8)),
    )
    tiny_bundle(tmp_path, manifest)
    predictor = Predictor.load(tmp_path, "cpu", threads=1)
    hu = brain()
    hu[:, 100:109, 100:109] = BLOOD_HU
    gate = predictor.gate(volume_at(hu))
    assert 0.25 < gate.slice_probabilities[:, 0].max() < 0.4
    analysis = predictor.segment(volume_at(hu), gate)
    assert analysis.slices_segmented == 0
    assert analysis.result.status is WorklistStatus.NOT_SUSPECTED


def test_a_single_slice_can_be_analysed(predictor: Predictor) -> None:
    hu = brain(shape=(1, 160, 160))
    hu[0, 100:140, 100:140] = BLOOD_HU
    result = analyse(predictor, volume_at(hu)).result
    assert result.key_slice == KeySlice("2.25.100", 1, 0)
    assert result.total_volume_ml == pytest.approx(40 * 40 * 0.64 * 5 / 1000, rel=0.03)


def test_nets_that_break_the_contract_do_not_load(tmp_path: Path) -> None:
    tiny_bundle(tmp_path, MANIFEST, files={"munet.onnx": classifier_model(SIZE)})
    with pytest.raises(BundleError, match=r"munet\.onnx must take"):
        Predictor.load(tmp_path, "cpu")


def lost_at_first_run(path: Path, device: Device, threads: int) -> Session:
    """On anything but the CPU the nets open, and the segmenter's first run fails."""
    if device == "cpu" or path.name == CLASSIFIER:
        return open_session(path, "cpu", threads)
    return Session(LostGpu(["seg_logits", "cls_logits"]), path.name)


def lost_at_opening(path: Path, device: Device, threads: int) -> Session:
    if device == "cpu":
        return open_session(path, "cpu", threads)
    raise ProviderUnavailable("SYNTHETIC: no CUDA-capable device is detected")


@pytest.mark.parametrize("open_net", [lost_at_opening, lost_at_first_run])
def test_a_gpu_that_is_lost_leaves_the_cpu_to_both_nets(open_net: OpenNet, tmp_path: Path) -> None:
    tiny_bundle(tmp_path, MANIFEST)
    with capture_logs() as said:
        loaded = Predictor.load(tmp_path, "auto", threads=1, open_net=open_net)
    assert loaded.provider == CPU
    assert analyse(loaded, volume_at(brain())).result.status is WorklistStatus.NOT_SUSPECTED
    assert [line["event"] for line in said] == ["gpu_given_up"]


@pytest.mark.parametrize("open_net", [lost_at_opening, lost_at_first_run])
def test_a_gpu_that_was_asked_for_is_not_replaced(open_net: OpenNet, tmp_path: Path) -> None:
    tiny_bundle(tmp_path, MANIFEST)
    with pytest.raises(ProviderUnavailable):
        Predictor.load(tmp_path, "cuda", threads=1, open_net=open_net)


def test_a_net_that_breaks_the_contract_is_not_opened_twice(tmp_path: Path) -> None:
    tiny_bundle(tmp_path, MANIFEST, files={"munet.onnx": classifier_model(SIZE)})
    opened: list[str] = []

    def counting(path: Path, device: Device, threads: int) -> Session:
        opened.append(path.name)
        return open_session(path, "cpu", threads)

    with pytest.raises(BundleError):
        Predictor.load(tmp_path, "auto", threads=1, open_net=counting)
    assert opened == [CLASSIFIER, SEGMENTER]
