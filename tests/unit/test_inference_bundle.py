"""The bundle folder: exactly what its checksums list, a manifest without surprises, the same bytes every time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.onnx_models import classifier_model, segmenter_model, tiny_bundle, tiny_manifest
from triage.domain.errors import BundleError
from triage.domain.finding import DecisionRule
from triage.inference.bundle import load_bundle, write_bundle
from triage.inference.manifest import (
    Calibration,
    Card,
    ExamCalibration,
    Figure,
    GateCalibration,
    Scoring,
    Thresholds,
    Training,
    format_manifest,
    parse_manifest,
)
from triage.inference.preprocess import PreprocessSpec


def test_what_was_written_is_what_loads(tmp_path: Path) -> None:
    written = tiny_bundle(tmp_path / "b", files={"card.md": b"# Model card\n"})
    loaded = load_bundle(tmp_path / "b")
    assert loaded == written
    assert (loaded.name, loaded.version, loaded.demonstration) == ("tiny", "1", True)
    assert loaded.rule == DecisionRule(0.5, 0.9)
    assert loaded.preprocessing == PreprocessSpec()
    assert loaded.digest == hashlib.sha256((tmp_path / "b" / "SHA256SUMS").read_bytes()).hexdigest()


def test_checksums_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    tiny_bundle(tmp_path)
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == ["bundle.json", "munet.onnx", "slice_classifier.onnx"]
    for line in lines:
        digest, name = line.split("  ")
        assert digest == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_the_same_input_gives_the_same_digest(tmp_path: Path) -> None:
    assert tiny_bundle(tmp_path / "a").digest == tiny_bundle(tmp_path / "b").digest
    changed = tiny_bundle(tmp_path / "c", version="2")
    assert changed.digest != load_bundle(tmp_path / "a").digest


def test_writing_replaces_an_earlier_bundle(tmp_path: Path) -> None:
    tiny_bundle(tmp_path, files={"card.md": b"old"})
    tiny_bundle(tmp_path, version="2")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "SHA256SUMS",
        "bundle.json",
        "munet.onnx",
        "slice_classifier.onnx",
    ]


def test_writing_never_removes_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(BundleError, match="no part of a bundle"):
        tiny_bundle(tmp_path)
    assert (tmp_path / "thesis.docx").read_text() == "years of work"


@pytest.mark.parametrize("name", ["../munet.onnx", "sub/card.md", "SHA256SUMS", ".hidden"])
def test_writing_takes_plain_names_only(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="plain file names"):
        tiny_bundle(tmp_path, files={name: b"x"})
    assert not any(tmp_path.iterdir())


def test_writing_needs_both_nets(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"munet\.onnx"):
        write_bundle(tmp_path, tiny_manifest(), {"slice_classifier.onnx": classifier_model()})


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"set inference\.bundle"):
        load_bundle(tmp_path / "nowhere")


def test_a_folder_without_checksums_is_refused(tmp_path: Path) -> None:
    tiny_bundle(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(BundleError, match=r"SHA256SUMS of the bundle .* cannot be read"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["bundle.json", "munet.onnx", "slice_classifier.onnx"])
def test_one_changed_byte_is_found(tmp_path: Path, name: str) -> None:
    tiny_bundle(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(bytes(content))
    with pytest.raises(BundleError, match=f"{name} .* does not match"):
        load_bundle(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    tiny_bundle(tmp_path)
    (tmp_path / "munet.onnx").unlink()
    with pytest.raises(BundleError, match=r"munet\.onnx is missing although listed"):
        load_bundle(tmp_path)


def test_an_extra_file_is_named(tmp_path: Path) -> None:
    tiny_bundle(tmp_path)
    (tmp_path / "weights.pkl").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"weights\.pkl is not listed"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    "line", ["nonsense", "0" * 64 + " bundle.json", "0" * 64 + "  ../bundle.json", "\xff" * 64 + "  bundle.json"]
)
def test_checksum_lines_are_strict(tmp_path: Path, line: str) -> None:
    tiny_bundle(tmp_path)
    with (tmp_path / "SHA256SUMS").open("a", encoding="latin-1") as sums:
        sums.write(line + "\n")
    with pytest.raises(BundleError, match="no checksum"):
        load_bundle(tmp_path)


def test_checksums_without_a_required_file_are_refused(tmp_path: Path) -> None:
    tiny_bundle(tmp_path)
    lines = [x for x in (tmp_path / "SHA256SUMS").read_text().splitlines(keepends=True) if "munet" not in x]
    (tmp_path / "SHA256SUMS").write_text("".join(lines))
    (tmp_path / "munet.onnx").unlink()
    with pytest.raises(BundleError, match=r"has no munet\.onnx"):
        load_bundle(tmp_path)


def test_a_manifest_survives_its_file() -> None:
    figure = Figure("exam AUC", 0.97, 0.91, 0.99, 120, "made exams", "bootstrap over exams")
    manifest = replace(
        tiny_manifest(),
        calibration=Calibration(
            (1.5, 1.0, 1.1, 1.2, 1.3, 1.4), 0.8, GateCalibration(1.2, -0.3), ExamCalibration(2, 1, 0.4)
        ),
        scoring=Scoring((0.2, 0.6, 0.2), 2, 20.0, "logits"),
        card=Card("SYNTHETIC heads, 40 exams", (figure,), ("not for clinical use",)),
    )
    content = format_manifest(manifest)
    assert parse_manifest(content) == manifest
    assert format_manifest(parse_manifest(content)) == content
    assert "means" not in json.loads(format_manifest(tiny_manifest()))["scoring"], "older releases do not know this key"


def changed(path: str, value: object) -> bytes:
    """bundle.json of the tiny manifest with one key set; a value of None removes it."""
    content = json.loads(format_manifest(tiny_manifest()))
    *parents, last = path.split(".")
    target = content
    for parent in parents:
        target = target[parent]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("nmae", "x", "nmae: Unexpected keyword"),
        ("preprocessing.pixel", 1.0, "preprocessing.pixel: Unexpected keyword"),
        ("thresholds.gate", None, "thresholds.gate: Field required"),
        ("thresholds.gate", "0.2", "thresholds.gate"),
        ("thresholds.gate", 1.0, "between 0 and 1"),
        ("thresholds.suspected", 0.95, "suspected_at <= emergent_at"),
        ("thresholds.gate", 0.5, "could still score as suspected"),
        ("thresholds.minimum_component_ml", -1.0, "0 or more"),
        ("format", 2, "format 2 is not known"),
        ("created_at", "2025-01-01T00:00:00", "time zone"),
        ("name", " ", "a name and a version"),
        ("preprocessing.size", 8, "16..1024"),
        ("preprocessing.pixel_mm", 0.0, "0.1..10"),
        ("preprocessing.thin_below_mm", 6.0, "thin_below_mm <= slab_mm"),
        ("preprocessing.windows", [[40.0, 80.0]], "three windows"),
        ("preprocessing.windows", [[40.0, 0.0]] * 3, "width above 0"),
        ("calibration.classifier_temperature", [1.0], "any, EDH, IPH, IVH, SAH, SDH"),
        ("calibration.mask_temperature", 0.0, "above 0"),
        ("calibration.provisional.gate_weight", -1.0, "never lower the score"),
        ("calibration.final", {"mask_weight": 0.0, "gate_weight": 0.0, "bias": 0.0}, "never lower the score"),
        ("scoring.kernel", [0.5, 0.5, 0.5], "sum to 1"),
        ("scoring.top_k", 0, "top_k"),
        ("provenance.demonstration", False, "must be marked demonstration"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(path: str, value: object, sentence: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse_manifest(changed(path, value))
    assert sentence in str(caught.value)


def test_no_number_is_infinite() -> None:
    content = changed("calibration.mask_temperature", 1.0).replace(
        b'"mask_temperature": 1.0', b'"mask_temperature": Infinity'
    )
    with pytest.raises(BundleError):
        parse_manifest(content)


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(BundleError, match="not valid"):
        parse_manifest(b"\x80\x04pickle")


def test_a_figure_lies_in_its_interval() -> None:
    with pytest.raises(ValueError, match="low <= value <= high"):
        Figure("AUC", 0.99, 0.5, 0.9, 10, "exams")


def test_limits_and_provenance_are_checked_in_code_too() -> None:
    with pytest.raises(ValueError, match="mask_probability"):
        Thresholds(0.1, 0.5, 0.9, mask_probability=1.0)
    assert Training("CQ500", "paper", 1, {}, synthetic=False, demonstration=False).demonstration is False


def test_a_lower_gate_is_always_allowed() -> None:
    manifest = replace(tiny_manifest(), thresholds=Thresholds(gate=0.01, suspected=0.5, emergent=0.9))
    assert manifest.thresholds.gate == 0.01
    assert len(segmenter_model(64)) > 0


def test_every_key_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text(encoding="utf-8")
    keys: set[str] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            keys.update(value)
            for inner in value.values():
                collect(inner)

    collect(json.loads(format_manifest(tiny_manifest())))
    keys.update(Figure.__dataclass_fields__)
    spellings = ("`{}`", ".{}`", "`{}.")
    assert {key for key in keys if not any(way.format(key) in text for way in spellings)} == set()
