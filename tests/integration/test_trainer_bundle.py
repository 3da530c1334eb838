"""The demonstration bundles in the package: whole, honest about themselves, and right about the heads of the demo."""

from pathlib import Path

import numpy as np
import pytest

from trainer.demonstration.evaluate import look_at_series
from trainer.demonstration.exams import volume_of
from trainer.demonstration.protocol import load_protocol
from trainer.phantom.exam import study
from triage.domain.finding import SUBTYPES, WorklistStatus
from triage.entrypoints.app import shipped_bundle
from triage.entrypoints.demo import SEED
from triage.inference.bundle import Bundle, load_bundle
from triage.inference.plausible import check_living_head
from triage.inference.predict import Predictor

SHIPPED = shipped_bundle()
SMALL = SHIPPED.with_name("demo-int8")
COMMITTED_BYTES = 16e6
HEADS = {WorklistStatus.SUSPECTED: SEED * 10_000 + 1, WorklistStatus.NOT_SUSPECTED: SEED * 10_000 + 2}
"""Seeds of the first two studies that `trainer phantom` makes for the demo."""


@pytest.fixture(scope="module", params=[SHIPPED, SMALL], ids=lambda folder: folder.name)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return load_bundle(request.param)


def test_it_says_what_it_is(bundle: Bundle) -> None:
    assert bundle.demonstration
    assert bundle.manifest.provenance.synthetic
    assert "SYNTHETIC" in bundle.manifest.provenance.training_data
    assert "SYNTHETIC. DEMONSTRATION ONLY." in (bundle.path / "card.md").read_text(encoding="utf-8")


def test_it_was_built_by_the_protocol_beside_it(bundle: Bundle) -> None:
    plan = load_protocol("demo_fourth")
    manifest = bundle.manifest
    assert (manifest.name, manifest.version) == (plan.bundle_name, plan.version)
    assert (manifest.provenance.protocol, manifest.provenance.seed) == (plan.name, plan.seed)
    assert manifest.preprocessing == plan.preprocessing
    assert manifest.slice_classifier.reads == plan.slice_classifier.reads
    assert manifest.munet.reads == plan.munet.reads
    assert manifest.familiar_within is not None, "it answers whatever it is shown"


def test_torch_and_onnx_agreed_when_it_was_exported(bundle: Bundle) -> None:
    cards = (bundle.manifest.slice_classifier, bundle.manifest.munet)
    if bundle.path == SHIPPED:
        assert all(card.parity is not None and card.parity <= 1e-3 for card in cards)
    else:
        assert [card.parity for card in cards] == [None, None], "no net of torch computes in 8 bits"


def test_its_card_shows_held_out_figures_with_intervals_and_numbers(bundle: Bundle) -> None:
    figures = {f.name: f for f in bundle.manifest.card.figures}
    card = (bundle.path / "card.md").read_text(encoding="utf-8")
    assert {"exam AUC", "exam sensitivity", "exam specificity", "Dice any, pooled over exams"} <= set(figures)
    assert {f"slice AUC {s}, classifier" for s in SUBTYPES} <= set(figures)
    assert all(f.n >= 2 and f.low <= f.value <= f.high for f in figures.values())
    assert all(name in card for name in figures)


def test_both_are_small_and_differ_in_precision_alone() -> None:
    shipped, small = load_bundle(SHIPPED), load_bundle(SMALL)
    assert shipped.digest != small.digest
    for fact in ("name", "version", "preprocessing", "scoring", "names_subtypes", "intended_input"):
        assert getattr(shipped.manifest, fact) == getattr(small.manifest, fact)
    single, eight = (_bytes(folder) for folder in (SHIPPED, SMALL))
    assert single + eight <= COMMITTED_BYTES
    assert eight < single / 2


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("status", list(HEADS))
def test_it_is_right_about_the_heads_of_the_demo(bundle: Bundle, status: WorklistStatus) -> None:
    made = study(HEADS[status], status=status)
    volume = volume_of(made)
    check_living_head(volume)
    predictor = Predictor.load(bundle.path, "cpu", threads=1)
    said = predictor.segment(volume, predictor.gate(volume))
    assert said.result.status is status
    if status is WorklistStatus.SUSPECTED:
        overlap = np.count_nonzero((said.labels > 0) & (made.labels > 0))
        assert 2 * overlap / (np.count_nonzero(said.labels) + np.count_nonzero(made.labels)) > 0.4


@pytest.mark.slow
def test_real_series_are_described_without_claims(bundle: Bundle, shared_data: Path) -> None:
    tilted = look_at_series(bundle, shared_data / "ge_head_tilt")
    assert "without labels: 28 slices, score " in tilted
    assert "(not_suspected)" in tilted
    plastic = look_at_series(bundle, shared_data / "philips_head_phantom" / "S2010")
    assert "not analysed (out_of_distribution)" in plastic
