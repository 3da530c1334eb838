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
    bundle = load_bundle(DEMO)
    assert bundle.manifest.reference is None
    assert format_manifest(bundle.manifest) == (DEMO / "bundle.json").read_bytes()
    assert reference_on_record(json.loads(format_manifest(bundle.manifest))) is None


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
