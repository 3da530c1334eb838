"""Scans of a cache as the daemon would read them, and what is counted on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.caches import PICTURE_WINDOW, Made, cache_in_memory
from tests.onnx_models import tiny_bundle, tiny_manifest
from trainer.bundles.figures import figures_of
from trainer.bundles.scans import (
    Kept,
    ScanSaid,
    chosen_scans,
    hounsfield,
    kept_of,
    run_scans,
    scan_label,
    volume_of,
)
from trainer.datasets.cache import Cache
from trainer.datasets.case import NO, UNKNOWN, YES
from trainer.experiment.balance import scans_of
from trainer.experiment.truth import slice_truth
from triage.inference.postprocess import sigmoid
from triage.inference.predict import Predictor
from triage.inference.preprocess import PreprocessSpec
from triage.inference.slabs import group_slices, sample_slabs

SPEC = PreprocessSpec(size=32, pixel_mm=4.0)


def made(**changes: object) -> Cache:
    return cache_in_memory(replace(Made(pixel_mm=4.0, patients=6), **changes))  # type: ignore[arg-type]


def said(label: int, score: float, **changes: object) -> ScanSaid:
    truth = np.full((4, 6), label, np.int8)
    values: dict[str, object] = {
        "patient": f"p{score}",
        "study": f"s{score}",
        "logits": np.full((4, 6), np.log(score / (1 - score)), np.float32),
        "probabilities": np.full((4, 6), score),
        "evidence": np.zeros((4, 6)),
        "truth": truth,
        "label": label,
        "score": score,
        "overlap_px": 40 if label == YES else 0,
        "true_px": 50 if label == YES else 0,
        "marked_px": 50 if label == YES else 0,
    }
    return ScanSaid(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("apart", [0.6, 5.0, 12.0])
def test_the_daemon_sees_the_very_slices_of_the_cache(apart: float) -> None:
    cache = made()
    cache.table["position_mm"] *= apart / 5.0
    (scan, *_) = scans_of(cache, cache.usable)
    volume = volume_of(cache, scan, SPEC)
    slabs = group_slices(volume.stack, SPEC)
    assert len(slabs) == len(scan)
    np.testing.assert_allclose(sample_slabs(volume, slabs, SPEC), cache.pixels[scan].astype(np.float32), atol=0.01)


def test_a_scan_of_one_slice_is_a_volume_too() -> None:
    cache = made(slices=1)
    volume = volume_of(cache, np.array([0]), SPEC)
    assert len(group_slices(volume.stack, SPEC)) == 1


def test_pictures_become_hu_of_their_window() -> None:
    cache = made(pictures=True)
    low, high = (PICTURE_WINDOW[0] + side * PICTURE_WINDOW[1] / 2 for side in (-1, 1))
    hu = hounsfield(cache, np.arange(4))
    np.testing.assert_allclose([hu.min(), hu.max()], [low, high], atol=1e-4)
    described = replace(cache.description, spec=replace(cache.spec, window=None))
    unknown = Cache(cache.folder, described, cache.pixels, cache.masks, cache.table)
    with pytest.raises(ValueError, match="nobody knows the window"):
        hounsfield(unknown, np.arange(4))


def test_few_scans_are_taken_all_and_of_many_as_many_with_blood_as_without() -> None:
    cache = made(patients=20, bleeding=4)
    truth, rows = slice_truth(cache), np.asarray(cache.usable, np.int64)
    assert len(chosen_scans(cache, rows, truth, 20, 1)) == 20
    drawn = chosen_scans(cache, rows, truth, 8, 1)
    labels = [scan_label(cache, scan, truth) for scan in drawn]
    assert (labels.count(YES), labels.count(NO)) == (4, 4)
    again = chosen_scans(cache, rows, truth, 8, 1)
    assert all(np.array_equal(one, other) for one, other in zip(drawn, again, strict=True))
    most = [scan_label(cache, scan, truth) for scan in chosen_scans(cache, rows, truth, 18, 1)]
    assert (most.count(YES), most.count(NO)) == (5, 13)


def test_a_scan_is_labelled_by_its_slices_and_else_by_its_study() -> None:
    cache = made(patients=2)
    bleeding, quiet = scans_of(cache, cache.usable)
    truth = slice_truth(cache)
    assert [scan_label(cache, scan, truth) for scan in (bleeding, quiet)] == [YES, NO]
    unknown = np.full_like(truth, UNKNOWN)
    assert [scan_label(cache, scan, unknown) for scan in (bleeding, quiet)] == [YES, NO]
    cache.table["study_labels"] = UNKNOWN
    assert [scan_label(cache, scan, unknown) for scan in (bleeding, quiet)] == [UNKNOWN, UNKNOWN]


def test_pixels_are_counted_on_drawn_slices_alone(tmp_path: Path) -> None:
    """The nets of the tests mark what lies between 50 and 90 HU, which is what the made blood is."""
    cache = made(patients=2)
    bundle = tiny_bundle(tmp_path, replace(tiny_manifest(32, 4.0)))
    predictor = Predictor.load(bundle.path, "cpu", threads=1)
    scans, truth = scans_of(cache, cache.usable), slice_truth(cache)
    bleeding, quiet = run_scans(predictor, cache, scans, truth, every_slice=True)
    assert (bleeding.patient, bleeding.study, bleeding.label) == ("000", "study-000-0", YES)
    temperatures = np.asarray(bundle.manifest.calibration.classifier_temperature)
    np.testing.assert_array_equal(bleeding.probabilities, sigmoid(bleeding.logits / temperatures))
    assert bleeding.true_px == int((cache.masks[scans[0]] > 0).sum())
    assert bleeding.overlap_px > 0.8 * bleeding.true_px
    assert quiet.true_px == quiet.overlap_px == 0
    assert kept_of([bleeding, quiet], outlines=True).dice == pytest.approx(
        2 * bleeding.overlap_px / (bleeding.true_px + bleeding.marked_px + quiet.marked_px)
    )
    cache.table["drawn"] = False
    (nobody_drew, _) = run_scans(predictor, cache, scans, truth, every_slice=True)
    assert (nobody_drew.true_px, nobody_drew.marked_px) == (0, 0)


def test_what_cannot_be_told_is_none() -> None:
    both = [said(YES, 0.9), said(NO, 0.1)]
    assert kept_of(both, outlines=True) == Kept(1.0, 0.8)
    assert kept_of(both, outlines=False) == Kept(1.0, None)
    assert kept_of(both[:1], outlines=True) == Kept(None, 0.8)
    assert kept_of([said(UNKNOWN, 0.5), *both], outlines=False).auc == 1.0
    assert kept_of(both[1:], outlines=True) == Kept(None, None)


def test_figures_are_those_of_the_final_score_at_the_limit() -> None:
    scans = [said(YES, 0.9), said(YES, 0.6), said(YES, 0.3), said(NO, 0.4), said(NO, 0.1), said(UNKNOWN, 0.99)]
    found = {f.name: f for f in figures_of(scans, 0.5, 1, outlines=True, names_subtypes=False)}
    assert found["scan AUC"].value == pytest.approx(5 / 6)
    assert (found["scan sensitivity"].value, found["scan sensitivity"].n) == (pytest.approx(2 / 3), 3)
    assert (found["scan specificity"].value, found["scan specificity"].method) == (1.0, "Clopper-Pearson")
    assert found["slice AUC any, classifier"].value == pytest.approx(5 / 6)
    assert found["Dice any, pooled over scans"].value == pytest.approx(0.8)
    assert found["Dice any, mean over scans that hold blood"].n == 3
    assert not [name for name in found if "EDH" in name]


def test_figures_of_subtypes_where_they_are_taught_and_of_no_mask_where_there_is_none() -> None:
    scans = [said(YES, 0.9), said(NO, 0.1)]
    names = {f.name for f in figures_of(scans, 0.5, 1, outlines=False, names_subtypes=True)}
    assert {"slice AUC any, classifier", "slice AUC EDH, classifier", "slice AUC SDH, classifier"} <= names
    assert not [name for name in names if name.startswith("Dice")]
