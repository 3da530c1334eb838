"""The card of a bundle says first what cannot be claimed, and is read back from any record of a manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.onnx_models import tiny_manifest
from triage.inference.bundle import load_bundle
from triage.inference.card import BundleCard, card_of, card_on_record
from triage.inference.manifest import Card, Figure, Training, format_manifest

DEMO = Path(__file__).resolve().parents[2] / "triage" / "bundles" / "demo"
AUC = Figure("scan AUC", 0.9124, 0.85, 0.96, 60, "patients", "bootstrap")
DICE = Figure("Dice any, pooled over scans", 0.5, 0.4, 0.6, 60, "patients")
PATIENTS = Training("a data set of patients", "paper", 1, {}, synthetic=False, demonstration=False)


def card(
    training: Training = PATIENTS, held_out: str = "60 scans of the locked test part.", *figures: Figure
) -> BundleCard:
    return BundleCard("head CT", training, Card(held_out, figures))


def test_the_shipped_bundle_claims_nothing_about_patients_and_tells_its_figures() -> None:
    shipped = load_bundle(DEMO)
    learned, measured, figures = shipped.measured
    assert shipped.manifest.provenance.training_data in learned
    card = {figure.name: figure for figure in shipped.manifest.card.figures}
    exams = card["exam sensitivity"].n + card["exam specificity"].n
    assert f"Measured on: {exams} SYNTHETIC exams" in measured
    for name in ("exam AUC", "exam sensitivity", "exam specificity"):
        figure = card[name]
        told = f"{name} {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}], n = {figure.n} {figure.unit}"
        assert told in figures
    assert "slice" not in figures
    limits = " ".join(card_of(shipped.manifest).not_claimed)
    assert "no patient" in limits
    assert "must not take part in care" in limits


def test_a_bundle_of_patients_claims_no_other_site() -> None:
    found = card(PATIENTS, "60 scans of the locked test part.", AUC, DICE)
    assert found.sentences == (
        "Learned from: a data set of patients.",
        "Measured on: 60 scans of the locked test part. Nothing is claimed for other examinations.",
        "With 95 % intervals: scan AUC 0.912 [0.850, 0.960], n = 60 patients.",
    )
    limits = " ".join(found.not_claimed)
    assert "At another site" in limits
    assert "SYNTHETIC" not in limits
    assert "must not take part in care" not in limits


def test_what_has_no_figure_says_so_and_names_none() -> None:
    assert card().sentences[1:] == ("Nothing was measured that the card of the model tells.",)
    assert any("nothing at all can be claimed" in limit for limit in card().not_claimed)
    only_parts = card(PATIENTS, "60 scans", DICE)
    assert len(only_parts.sentences) == 2, "a figure of outlines is not told as one of examinations"


def test_a_manifest_on_record_gives_the_same_card() -> None:
    manifest = replace(tiny_manifest(), card=Card("60 scans", (AUC,), ("a remark",)))
    assert card_on_record(json.loads(format_manifest(manifest))) == card_of(manifest)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"card": {"held_out": "x", "figures": [{"name": "AUC"}]}},
        {"provenance": {"demonstration": True}},
        {"card": 1},
    ],
)
def test_a_record_that_cannot_be_read_has_no_card(broken: dict[str, Any]) -> None:
    whole = json.loads(format_manifest(tiny_manifest()))
    assert card_on_record({**whole, **broken} if broken else {}) is None
