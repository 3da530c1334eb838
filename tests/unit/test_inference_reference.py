"""The reference scores that a bundle may carry, and bundles that carry none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.onnx_models import tiny_manifest
from triage.domain.errors import BundleError
from triage.inference.bundle import load_bundle
from triage.inference.manifest import ReferenceScores, format_manifest, parse_manifest, reference_on_record

REFERENCE = ReferenceScores((0.0, 0.25, 1.0), (0.875, 0.125), 800, "SYNTHETIC test heads", synthetic=True)
DEMO = Path(__file__).resolve().parents[2] / "triage" / "bundles" / "demo"


def test_it_goes_through_the_file_and_back() -> None:
    manifest = replace(tiny_manifest(), reference=REFERENCE)
    content = format_manifest(manifest)
    assert parse_manifest(content).reference == REFERENCE
    assert format_manifest(parse_manifest(content)) == content
    assert reference_on_record(json.loads(content)) == REFERENCE


def test_a_manifest_without_one_stays_byte_for_byte_what_it_was() -> None:
    assert b"reference" not in format_manifest(tiny_manifest())
    assert reference_on_record(json.loads(format_manifest(tiny_manifest()))) is None


def test_the_one_of_the_shipped_bundle_is_of_the_made_heads_on_its_card() -> None:
    manifest = load_bundle(DEMO).manifest
    assert manifest.reference is not None
    assert manifest.reference.synthetic
    assert manifest.reference.data == manifest.card.held_out
    assert "SYNTHETIC" in manifest.reference.data
    assert format_manifest(manifest) == (DEMO / "bundle.json").read_bytes()
    figures = {figure.name: figure for figure in manifest.card.figures}
    sensitivity, specificity = figures["exam sensitivity"], figures["exam specificity"]
    exams = sensitivity.n + specificity.n
    refused = exams - manifest.reference.n
    assert refused >= 0
    assert not refused or any(f"{refused} made exams did not pass" in remark for remark in manifest.card.remarks)

    # The limit may lie inside a bin, some of which is then suspected; so may be an exam that the daemon would refuse.
    suspected = sensitivity.value * sensitivity.n + (1 - specificity.value) * specificity.n
    limit, edges = manifest.thresholds.suspected, manifest.reference.edges
    counts = [share * manifest.reference.n for share in manifest.reference.proportions]
    surely = sum(count for count, low in zip(counts, edges[:-1], strict=True) if low >= limit)
    perhaps = sum(count for count, high in zip(counts, edges[1:], strict=True) if high > limit)
    assert surely - 1e-6 <= suspected <= perhaps + refused + 1e-6


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"edges": [0.0, 1.0], "proportions": [1.0]}, "ascend from 0 to 1"),
        ({"edges": [0.0, 0.5, 0.5, 1.0], "proportions": [0.5, 0.25, 0.25]}, "ascend from 0 to 1"),
        ({"edges": [0.1, 0.5, 1.0]}, "ascend from 0 to 1"),
        ({"edges": [0.0, 0.5, 0.9]}, "ascend from 0 to 1"),
        ({"proportions": [1.0]}, "for each bin"),
        ({"proportions": [1.5, -0.5]}, "for each bin"),
        ({"proportions": [0.5, 0.4]}, "sum to 1"),
        ({"n": 0}, "n of 1 or more"),
        ({"data": ""}, "which studies"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_one_that_cannot_be_is_refused_with_a_sentence(changed: dict[str, Any], said: str) -> None:
    content = json.loads(format_manifest(replace(tiny_manifest(), reference=REFERENCE)))
    content["reference"].update(changed)
    with pytest.raises(BundleError, match=said):
        parse_manifest(json.dumps(content).encode())
    assert reference_on_record(content) is None


def test_every_key_is_in_the_document() -> None:
    document = (DEMO.parents[2] / "docs" / "bundle.md").read_text("utf-8")
    line = next(line for line in document.splitlines() if line.startswith("| `reference`"))
    for key in ReferenceScores.__dataclass_fields__:
        assert f"`{key}`" in line
