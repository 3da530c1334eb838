"""All measures of a few slices whose figures can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from trainer.experiment.predictions import Predictions
from trainer.measures.measure import Measure
from trainer.measures.run import measures_of
from trainer.measures.scans import scans_of

NAN = float("nan")


def predictions(slices: int = 3, studies: int = 4) -> Predictions:
    """Studies of three slices of 1 mm pixels and 5 mm; the first two studies bleed in their middle slice."""
    n = slices * studies
    study = np.repeat([f"s{i}" for i in range(studies)], slices)
    middle = np.tile(np.arange(slices) == 1, studies) & np.isin(study, ["s0", "s1"])
    true = np.where(middle, 2000, 0)[:, None]
    marked = true.copy()
    marked[1] = 1000  # half of the first bleed is outlined
    marked[6] = 400  # a false mark in a study without blood
    return Predictions(
        classes=np.array(["any"]),
        row=np.arange(n, dtype=np.int64),
        patient=np.char.replace(study, "s", "p"),
        study=study,
        position_mm=np.tile(np.arange(slices) * 5.0, studies).astype(np.float32),
        fold=np.zeros(n, dtype=np.int32),
        probability=np.where(middle, 0.9, 0.1).astype(np.float32)[:, None],
        label=middle.astype(np.int8)[:, None],
        study_label=np.full((n, 1), -1, dtype=np.int8),
        drawn=np.ones(n, dtype=bool),
        true_px=true,
        marked_px=marked,
        overlap_px=np.minimum(true, marked),
        surface_mm=np.where(middle, 2.0, NAN).astype(np.float32)[:, None],
        pixel_mm=np.ones(n, dtype=np.float32),
        extent_mm=np.full(n, 5.0, dtype=np.float32),
    )


def _by_name(found: list[Measure]) -> dict[tuple[str, str], Measure]:
    assert len({(m.name, m.of, m.level) for m in found}) == len(found)
    return {(m.name, m.level): m for m in found if m.of == "any"}


def test_figures_worked_out_by_hand() -> None:
    found = _by_name(measures_of(predictions(), threshold=0.5, seed=1))
    expected = {
        ("AUC", "slice"): 1.0,
        ("sensitivity", "slice"): 1.0,
        ("specificity, from masks", "slice"): 9 / 10,
        ("precision, from masks", "slice"): 2 / 3,
        ("accuracy, from masks", "slice"): 11 / 12,
        ("Dice", "slice"): (2 / 3 + 1) / 2,
        ("IoU", "slice"): (0.5 + 1) / 2,
        ("Dice, empty counted", "slice"): (2 / 3 + 1 + 0 + 9) / 12,
        ("Dice", "pooled"): 2 * 3000 / (4000 + 3400),
        ("IoU", "pooled"): 3000 / 4400,
        ("Dice", "scan"): (2 / 3 + 1) / 2,
        ("Dice, empty counted", "scan"): (2 / 3 + 1 + 0 + 1) / 4,
        ("surface distance mm", "slice"): 2.0,
        ("volume error ml, absolute", "scan"): (5 + 0 + 2 + 0) / 4,
        ("volume error ml, signed", "scan"): (-5 + 0 + 2 + 0) / 4,
        ("volume error, share, median", "scan"): 0.0,
    }
    for key, value in expected.items():
        assert found[key].value == pytest.approx(value), key
    assert all(m.low <= m.value <= m.high and m.n > 0 and m.method for m in found.values())


def test_intervals_say_whom_they_draw_and_are_exact_where_cases_are_independent() -> None:
    found = _by_name(measures_of(predictions(), threshold=0.5, seed=1))
    alarms = found["specificity, from masks", "slice"]
    assert (alarms.unit, alarms.n, alarms.method) == ("patients", 4, "bootstrap over patients")
    alone = found["sensitivity", "slice"]  # one slice with blood in each of two patients: independent
    assert (alone.unit, alone.n, alone.method) == ("slices", 2, "Clopper-Pearson")
    assert found["Dice", "slice"].n == 2, "patients without blood are no cases of this figure"
    whole = found["sensitivity", "scan"]
    assert (whole.method, whole.unit, whole.n) == ("Clopper-Pearson", "scans", 2)
    assert (whole.value, whole.low) == (0.0, 0.0)  # smoothing over three slices leaves 0.37 of one of 0.9
    assert whole.high == pytest.approx(0.842, abs=1e-3)
    assert found["Dice", "slice"].rule == "entries without true blood are left out"
    assert "count 1" in found["Dice, empty counted", "slice"].rule


@pytest.mark.parametrize(("said", "low", "high"), [(0.1, 0.398, 1.0), (0.9, 0.0, 0.602)])
def test_who_is_always_right_or_never_has_an_interval_of_as_many_patients(said: float, low: float, high: float) -> None:
    quiet = replace(predictions(), label=np.zeros((12, 1), np.int8), probability=np.full((12, 1), said, np.float32))
    alarms = _by_name(measures_of(quiet, threshold=0.5, seed=1))["specificity", "slice"]
    assert (alarms.unit, alarms.n, alarms.method) == ("patients", 4, "Clopper-Pearson")
    assert (alarms.low, alarms.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_what_was_not_drawn_or_is_not_known_gives_no_figure() -> None:
    silent = replace(
        predictions(),
        drawn=np.zeros(12, dtype=bool),
        probability=np.full((12, 1), NAN, dtype=np.float32),
        marked_px=np.zeros((12, 1), dtype=np.int64),
    )
    assert measures_of(silent, threshold=0.5, seed=1) == []
    unknown = replace(predictions(), label=np.full((12, 1), -1, dtype=np.int8), drawn=np.zeros(12, dtype=bool))
    assert measures_of(unknown, threshold=0.5, seed=1) == []
    no_size = _by_name(measures_of(replace(predictions(), pixel_mm=np.full(12, NAN, np.float32)), 0.5, 1))
    assert ("volume error ml, absolute", "scan") not in no_size
    assert no_size["surface distance mm", "slice"].rule.endswith("pixels counted as 1 mm")
    assert no_size["Dice", "scan"].value == pytest.approx((2 / 3 + 1) / 2)


def test_one_class_absent_leaves_its_figures_out_and_keeps_the_others() -> None:
    healthy = replace(
        predictions(),
        label=np.zeros((12, 1), dtype=np.int8),
        true_px=np.zeros((12, 1), dtype=np.int64),
        overlap_px=np.zeros((12, 1), dtype=np.int64),
        surface_mm=np.full((12, 1), NAN, dtype=np.float32),
    )
    found = _by_name(measures_of(healthy, threshold=0.5, seed=1))
    assert ("AUC", "slice") not in found
    assert ("sensitivity", "slice") not in found
    assert ("Dice", "slice") not in found
    assert found["specificity", "slice"].value == 10 / 12
    assert found["Dice", "pooled"].value == 0.0


def test_scans_are_scored_and_labelled_by_the_daemons_rule() -> None:
    scans = scans_of(predictions())
    assert scans.study.tolist() == ["s0", "s1", "s2", "s3"]
    assert scans.label[:, 0].tolist() == [1, 1, 0, 0]
    smoothed = [(0.5 * 0.1 + 0.25 * 0.9) / 0.75, 0.5 * 0.9 + 0.25 * 0.2, (0.5 * 0.1 + 0.25 * 0.9) / 0.75]
    assert scans.probability[0, 0] == pytest.approx(np.mean(smoothed), rel=1e-5)
    assert scans.true_ml[:2, 0].tolist() == [10.0, 10.0]
    shuffled = np.random.default_rng(0).permutation(12)
    parts = {
        name: getattr(predictions(), name)[shuffled] for name in Predictions.__dataclass_fields__ if name != "classes"
    }
    again = scans_of(replace(predictions(), **parts))
    np.testing.assert_allclose(again.probability, scans.probability)


def test_a_study_label_speaks_where_slices_are_silent() -> None:
    unknown = np.full((12, 1), -1, dtype=np.int8)
    study = np.repeat(np.array([1, 0, -1, 0], dtype=np.int8), 3)[:, None]
    scans = scans_of(replace(predictions(), label=unknown, study_label=study))
    assert scans.label[:, 0].tolist() == [1, 0, -1, 0]
    found = _by_name(measures_of(replace(predictions(), label=unknown, study_label=study), 0.5, 1))
    assert ("AUC", "slice") not in found
    assert found["AUC", "scan"].n == 3
