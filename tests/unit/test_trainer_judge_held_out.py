from pathlib import Path

import numpy as np
import pytest

from trainer.demonstration.exams import ExamRecord
from trainer.judge.against import against_section
from trainer.judge.findings import Row, Section
from trainer.judge.held_out import SEEDS, band_section, held_out_section, judged_orders


def record(
    seed: int,
    *,
    score: float,
    edh_ml: float = 0.0,
    sdh_ml: float = 0.0,
    marked: float = 1.0,
    template: bool = True,
    refused: str = "",
    blood_hu: float = float("nan"),
) -> ExamRecord:
    """An exam whose outline holds all blood and, from there on, ``marked`` times as much."""
    true = np.array([edh_ml + sdh_ml, edh_ml, 0.0, 0.0, 0.0, sdh_ml])
    return ExamRecord(
        seed=seed,
        bleeding=bool(true[0]),
        template=template,
        score=score,
        provisional_score=score,
        suspected=score >= 0.5,
        slices_segmented=3,
        logits=np.zeros((3, 6), np.float32),
        probabilities=np.zeros((3, 6)),
        evidence=np.zeros((3, 6)),
        true_mm2=np.zeros((3, 6)),
        true_ml=true,
        marked_ml=true * marked,
        overlap_ml=true * min(1.0, marked),
        refused=refused,
        blood_hu=blood_hu,
    )


RECORDS = [
    record(1, score=0.9, edh_ml=10.0, marked=1.1),
    record(2, score=0.2),
    record(3, score=0.8, sdh_ml=40.0, marked=0.5),
    record(4, score=0.1, template=False),
    record(5, score=0.3, edh_ml=0.5, sdh_ml=2.0, template=False),
    record(6, score=0.6, template=False, refused="Too short."),
]


def rows(section: Section) -> dict[str, Row]:
    found = {row.figure.name: row for row in section.rows}
    assert len(found) == len(section.rows)
    return found


def test_exams_are_those_of_other_seeds_half_from_each_source(tmp_path: Path) -> None:
    found = judged_orders(5, tmp_path, None, tmp_path)
    assert [one.seed for one in found] == [SEEDS + i for i in range(5)]
    assert [one.anatomy for one in found] == [tmp_path] * 3 + [None] * 2
    assert not any(one.every_slice for one in found)
    assert {one.anatomy for one in judged_orders(4, tmp_path, "procedural", tmp_path)} == {None}
    assert {one.anatomy for one in judged_orders(4, tmp_path, "template", tmp_path)} == {tmp_path}
    assert {one.anatomy for one in judged_orders(4, None, None, tmp_path)} == {None}


def test_template_heads_need_a_template(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs --anatomy"):
        judged_orders(4, None, "template", tmp_path)


def test_the_exam_figures_are_those_of_the_decisions() -> None:
    found = rows(held_out_section(RECORDS))
    auc = found["exam AUC"]
    assert auc.figure.value == pytest.approx(8 / 9)  # of 3 x 3 pairs, one is in the wrong order
    assert (auc.wanted, auc.met, auc.figure.n) == ("at least 0.95", False, 6)
    assert found["exam AUC, template"].figure.value == 1.0
    assert found["exam AUC, procedural"].figure.value == 0.5
    assert found["exam sensitivity"].figure.value == pytest.approx(2 / 3)
    assert found["exam specificity"].figure.value == pytest.approx(2 / 3)
    assert found["exams with SDH: suspected"].figure.value == 0.5
    assert found["Dice EDH, mean over exams that hold it"].figure.value == pytest.approx((2 / 2.1 + 1.0) / 2)


def test_blood_that_nobody_sees_is_counted_apart() -> None:
    fresh = [record(seed, score=0.9, edh_ml=10.0, blood_hu=hu) for seed, hu in enumerate((50.0, 63.0))]
    old = record(3, score=0.2, sdh_ml=80.0, blood_hu=44.0)
    section = held_out_section([*fresh, old, record(4, score=0.1), record(5, score=0.3)])
    found = rows(section)
    assert found["exam AUC, 2 with blood of 50 HU and more against 2 without"].figure.value == 1.0
    assert found["exam AUC, 1 with fainter blood against 2 without"].figure.value == 0.5
    assert found["blood of 50 HU and more: exams suspected"].figure.n == 2
    assert found["fainter blood: exams suspected"].figure.value == 0.0
    assert [case["blood_hu"] for case in section.cases] == [50.0, 63.0, 44.0, None, None]


def test_the_volume_error_has_a_sign_and_its_limit_has_none() -> None:
    errors = [record(seed, score=0.9, edh_ml=10.0, marked=m) for seed, m in enumerate((0.7, 0.75, 1.3))]
    found = rows(held_out_section([*errors, record(9, score=0.1), record(10, score=0.9, edh_ml=4.9, marked=9.0)]))
    error = found["volume error above 5 ml, median"]
    assert error.figure.value == pytest.approx(-0.25)
    assert (error.figure.n, error.wanted, error.met) == (3, "within 0.2 of 0", False)
    assert found["volume error above 5 ml, median size"].figure.value == pytest.approx(0.3)


def test_no_large_volume_no_error() -> None:
    found = rows(held_out_section([record(1, score=0.9, edh_ml=1.0), record(2, score=0.1)]))
    assert not any("volume error" in name for name in found)


def test_one_source_has_the_limit_of_the_other() -> None:
    section = held_out_section(RECORDS, only="template")
    assert rows(section)["exam AUC"].wanted == "at least 0.85"
    assert any("template heads alone" in remark for remark in section.remarks)


def test_refused_exams_are_counted_and_named() -> None:
    assert (
        "1 did not pass the input check, and count here all the same: Too short." in held_out_section(RECORDS).remarks
    )


def test_bands_hold_what_they_say() -> None:
    found = rows(band_section(RECORDS))
    assert found["any, 5 to 30 ml: exams suspected"].figure.n == 1
    assert found["any, over 30 ml: Dice, mean"].figure.value == pytest.approx(2 / 3)
    assert found["any, 1 to 5 ml: exams suspected"].figure.value == 0.0
    assert found["EDH, under 1 ml: exams suspected"].figure.n == 1
    assert not any(name.startswith(("IPH", "any, under 1 ml")) for name in found)


def test_every_volume_lies_in_one_band_its_limits_in_the_upper_one() -> None:
    edges = [record(seed, score=0.9, edh_ml=ml) for seed, ml in enumerate((0.0, 0.9, 1.0, 5.0, 30.0))]
    found = rows(band_section(edges))
    assert [found[f"any, {band}: exams suspected"].figure.n for band in ("under 1 ml", "1 to 5 ml")] == [1, 1]
    assert [found[f"any, {band}: exams suspected"].figure.n for band in ("5 to 30 ml", "over 30 ml")] == [1, 1]


def test_the_loss_is_what_the_other_bundle_does_better() -> None:
    better = [record(5, score=0.7, edh_ml=0.5, sdh_ml=2.0, template=False) if r.seed == 5 else r for r in RECORDS]
    section = against_section(RECORDS, better, "large")
    found = rows(section)
    assert found["exam AUC: loss against large"].figure.value == pytest.approx(1 / 9)
    assert found["exam AUC: loss against large"].met is False
    assert found["Dice any, pooled: loss against large"].figure.value == 0.0
    assert "1 of 6 exams get another status; scores differ by at most 0.400." in section.remarks


def test_other_exams_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same exams"):
        against_section(RECORDS, RECORDS[::-1], "large")
