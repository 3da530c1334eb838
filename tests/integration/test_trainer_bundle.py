"""The demonstration bundle in the package: whole, honest about itself, and right about a made head."""

from pathlib import Path

import numpy as np
import pytest

from trainer.evaluate import look_at_series
from trainer.exams import volume_of
from trainer.phantom.exam import study
from trainer.protocol import load_protocol
from triage.domain.finding import SUBTYPES, WorklistStatus
from triage.inference.bundle import Bundle, load_bundle
from triage.inference.plausible import check_living_head
from triage.inference.predict import Predictor

FOLDER = Path(__file__).parents[2] / "triage" / "bundles" / "demo"
SEED = 4242


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(FOLDER)


def test_it_is_small_and_says_what_it_is(bundle: Bundle) -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 12e6
    assert bundle.demonstration
    assert bundle.manifest.provenance.synthetic
    assert "SYNTHETIC" in bundle.manifest.provenance.training_data
    assert "SYNTHETIC. DEMONSTRATION ONLY." in (FOLDER / "card.md").read_text(encoding="utf-8")


def test_it_was_built_by_the_protocol_beside_it(bundle: Bundle) -> None:
    plan = load_protocol("demo")
    manifest = bundle.manifest
    assert (manifest.name, manifest.version) == (plan.name, plan.version)
    assert (manifest.provenance.protocol, manifest.provenance.seed) == (plan.name, plan.seed)
    assert manifest.preprocessing == plan.preprocessing


def test_torch_and_onnx_agreed_when_it_was_exported(bundle: Bundle) -> None:
    for card in (bundle.manifest.slice_classifier, bundle.manifest.munet):
        assert card.parity is not None
        assert card.parity <= 1e-3


def test_its_card_shows_held_out_figures_with_intervals_and_numbers(bundle: Bundle) -> None:
    figures = {f.name: f for f in bundle.manifest.card.figures}
    card = (FOLDER / "card.md").read_text(encoding="utf-8")
    assert {"exam AUC", "exam sensitivity", "exam specificity", "Dice any, pooled over exams"} <= set(figures)
    assert {f"slice AUC {s}, classifier" for s in SUBTYPES} <= set(figures)
    assert all(f.n >= 2 and f.low <= f.value <= f.high for f in figures.values())
    assert all(name in card for name in figures)


@pytest.mark.slow
@pytest.mark.parametrize("status", [WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED])
def test_it_is_right_about_a_procedural_head(status: WorklistStatus) -> None:
    made = study(SEED, status=status)
    volume = volume_of(made)
    check_living_head(volume)
    predictor = Predictor.load(FOLDER, "cpu", threads=1)
    said = predictor.segment(volume, predictor.gate(volume))
    assert said.result.status is status
    if status is WorklistStatus.SUSPECTED:
        overlap = np.count_nonzero((said.labels > 0) & (made.labels > 0))
        assert 2 * overlap / (np.count_nonzero(said.labels) + np.count_nonzero(made.labels)) > 0.4


@pytest.mark.slow
def test_real_series_are_described_without_claims(bundle: Bundle, shared_data: Path) -> None:
    tilted = look_at_series(bundle, shared_data / "ge_head_tilt")
    assert "without labels: 28 slices, score 0." in tilted
    plastic = look_at_series(bundle, shared_data / "philips_head_phantom" / "S2010")
    assert "not analysed (out_of_distribution)" in plastic
