from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from trainer.demonstration.card import card_text
from trainer.demonstration.evaluate import Measured, figures, reference
from trainer.demonstration.exams import ExamRecord
from triage.inference.manifest import Card, Figure, Manifest, ModelCard, Thresholds, Training


def record(seed: int, bleeding: bool, suspected: bool, template: bool = True) -> ExamRecord:
    """An exam with 10 ml of IPH on 4 of 12 slices, half of it outlined, 2 ml outlined in vain."""
    rng = np.random.default_rng(seed)
    true = np.zeros((12, 6))
    true[4:8, [0, 2]] = 400.0 * bleeding
    held = np.array([1, 0, 1, 0, 0, 0], float) * bleeding
    return ExamRecord(
        seed=seed,
        bleeding=bleeding,
        template=template,
        score=0.9 if suspected else 0.1,
        provisional_score=0.5,
        suspected=suspected,
        slices_segmented=4,
        logits=np.zeros((12, 6), np.float32),
        probabilities=np.clip(rng.normal(0.3, 0.1, (12, 6)) + 0.4 * (true > 0), 0.01, 0.99),
        evidence=np.zeros((12, 6)),
        true_mm2=true,
        true_ml=10.0 * held,
        marked_ml=5.0 * held + 2.0 * np.array([1, 0, 1, 0, 0, 0]),
        overlap_ml=5.0 * held,
        refused="",
    )


@pytest.fixture(scope="module")
def by_name() -> dict[str, Figure]:
    records = [record(i, i % 2 == 0, suspected=i % 2 == 0 or i == 1, template=i < 12) for i in range(20)]
    return {f.name: f for f in figures(records, seed=1)}


def test_operating_point_has_exact_intervals_and_is_given_apart_for_both_kinds_of_head(
    by_name: dict[str, Figure],
) -> None:
    specificity = by_name["exam specificity"]
    assert (specificity.value, specificity.n) == (0.9, 10)
    assert (specificity.low, specificity.high) == (pytest.approx(0.555, abs=1e-3), pytest.approx(0.9975, abs=1e-3))
    assert specificity.method == "Clopper-Pearson"
    assert by_name["exam sensitivity"].value == 1.0
    assert by_name["exam specificity, template"].value == pytest.approx(5 / 6)
    assert by_name["exam specificity, procedural"].value == 1.0


def test_auc_of_exams_and_slices_comes_with_the_number_of_exams(by_name: dict[str, Figure]) -> None:
    assert by_name["exam AUC"].value == pytest.approx(0.95)
    assert by_name["exam AUC, provisional"].value == 0.5
    assert by_name["slice AUC IPH, classifier"].value > 0.9
    assert by_name["slice AUC IPH, classifier"].n == 20


def test_subtypes_that_no_exam_shows_have_no_figure(by_name: dict[str, Figure]) -> None:
    assert not [name for name in by_name if "EDH" in name]


def test_pooled_dice_pays_for_false_outlines_in_exams_without_blood(by_name: dict[str, Figure]) -> None:
    pooled, mean = by_name["Dice any, pooled over exams"], by_name["Dice any, mean over exams that hold it"]
    assert pooled.value == pytest.approx(2 * 50 / (100 + 70 + 20))
    assert mean.value == pytest.approx(2 * 5 / 17)
    assert (pooled.n, mean.n) == (20, 10)


def test_the_reference_holds_the_scores_of_the_exams_that_a_daemon_would_have_analysed() -> None:
    records = [record(i, True, suspected=i < 3) for i in range(12)]
    records[0] = replace(records[0], refused="Does not look like a living head.")
    found = reference(records, "12 SYNTHETIC exams")
    assert found is not None
    assert (found.n, found.data, found.synthetic) == (11, "12 SYNTHETIC exams", True)
    assert found.proportions == pytest.approx([0, 9 / 11, *[0] * 7, 2 / 11])


def test_exams_that_were_all_refused_make_no_reference() -> None:
    assert reference([replace(record(1, True, suspected=True), refused="No head.")], "1 SYNTHETIC exam") is None


def test_the_card_says_synthetic_before_any_figure_and_shows_intervals(by_name: dict[str, Figure]) -> None:
    manifest = Manifest(
        name="demo",
        version="0.1.0",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        intended_input="non-contrast head CT",
        slice_classifier=ModelCard("slice_classifier", 1000, 1e-6),
        munet=ModelCard("munet", 2000, 3e-5),
        thresholds=Thresholds(gate=0.1, suspected=0.5, emergent=0.9),
        provenance=Training("SYNTHETIC heads", "demo", 7, {"torch": "2"}, synthetic=True, demonstration=True),
        card=Card("nothing"),
    )
    remarks = ("Real series x, without labels: 3 slices.",)
    scores = reference([record(i, True, suspected=i == 1) for i in range(4)], "20 SYNTHETIC exams")
    measured = Measured("20 SYNTHETIC exams", tuple(by_name.values()), remarks, scores)
    text = card_text(manifest, measured)
    assert "| 0.9 to 1 | 25.0 % |" in text
    assert "Patients are expected to differ from made heads" in text
    assert text.index("SYNTHETIC. DEMONSTRATION ONLY.") < text.index("exam AUC")
    assert "| exam specificity | 0.900 [0.555, 0.997] | 10 exams | Clopper-Pearson |" in text
    assert "logit difference to ONNX Runtime 3.0e-05" in text
    assert "- Real series x, without labels: 3 slices." in text
    assert max(len(line) for line in text.splitlines() if not line.startswith(("|", "-"))) <= 120
