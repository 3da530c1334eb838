"""A whole protocol in miniature: heads, nets, ONNX, limits, figures; then the daemon's own loader and predictor."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from trainer.bundles.export import PARITY_SLICES
from trainer.cli import main
from trainer.demonstration.build import build_bundles, export_saved, exported_nets, small_nets
from trainer.demonstration.exams import ExamOrder, run_exam, volume_of
from trainer.demonstration.protocol import DataPlan, ExamPlan, Protocol, load_protocol
from trainer.demonstration.stream import scan_input
from trainer.demonstration.train import Machine, load_net, train_nets
from trainer.demonstration.unseen import other_stacks
from trainer.phantom.exam import study
from triage.domain.finding import SUBTYPES, WorklistStatus
from triage.inference.bundle import Bundle, load_bundle
from triage.inference.plausible import check_living_head
from triage.inference.predict import Predictor
from triage.inference.preprocess import PreprocessSpec

pytestmark = pytest.mark.timeout(900)  # heads are made and two nets exported, on cores that others share

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def miniature() -> Protocol:
    """The demo protocol with two blocks of two steps, the first on the template alone, and four exams."""
    plan = load_protocol("demo")
    quick = {"steps": 4, "batch": 5, "crop": (128, 128)}
    return replace(
        plan,
        data=DataPlan(blocks=2, template_stacks=2, procedural_stacks=2, slices=5, kept=1, template_first=1),
        slice_classifier=replace(plan.slice_classifier, **quick),
        munet=replace(plan.munet, **quick),
        exams=ExamPlan(2, 0, 0, 2),
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> tuple[Bundle, Path, list[str]]:
    out = tmp_path_factory.mktemp("trained")
    lines: list[str] = []
    anatomy = shared_data / "ct_template"
    bundles = build_bundles(miniature(), out, anatomy, Machine(workers=0), (), NOW, lines.append)
    assert [bundle.path.name for bundle in bundles] == ["bundle", "bundle-int8", "bundle-template"]
    return bundles[0], out, lines


@pytest.mark.slow
def test_a_protocol_becomes_a_bundle_that_the_daemon_loads(built: tuple[Bundle, Path, list[str]]) -> None:
    bundle, out, lines = built
    assert load_bundle(out / "bundle").digest == bundle.digest
    assert bundle.demonstration
    manifest = bundle.manifest
    assert manifest.created_at == NOW
    assert manifest.munet.parameters == 1_769_262
    assert 0.0 <= (manifest.munet.parity or 1.0) < 1e-3
    assert 0.0 <= (manifest.slice_classifier.parity or 1.0) < 1e-3
    assert (manifest.slice_classifier.reads, manifest.munet.reads) == ("neighbours", "neighbours")
    assert manifest.familiar_within is not None
    assert manifest.familiar_within > 1.0
    assert "2 SYNTHETIC exams" in manifest.card.held_out
    assert {"exam AUC", "exam sensitivity", "exam specificity"} <= {f.name for f in manifest.card.figures}
    assert "SYNTHETIC" in (out / "bundle" / "card.md").read_text(encoding="utf-8")
    reference = manifest.reference
    assert reference is not None
    assert (reference.synthetic, reference.data) == (True, manifest.card.held_out)
    assert 1 <= reference.n <= 2
    assert any(line.startswith("ran 4 of 4 exams") for line in lines)


@pytest.mark.slow
def test_the_bundle_in_8_bits_is_a_third_as_large_and_both_fit_into_the_package(
    built: tuple[Bundle, Path, list[str]],
) -> None:
    sizes = [sum(path.stat().st_size for path in (built[1] / name).iterdir()) for name in ("bundle", "bundle-int8")]
    assert sizes[1] < 0.4 * sizes[0]
    assert sum(sizes) < 16e6
    assert load_bundle(built[1] / "bundle-int8").manifest.slice_classifier.parity is None


@pytest.mark.slow
def test_what_the_template_alone_taught_is_a_bundle_of_its_own(built: tuple[Bundle, Path, list[str]]) -> None:
    last, first = (load_bundle(built[1] / name).manifest for name in ("bundle", "bundle-template"))
    assert first.name == f"{last.name}-template"
    assert first.provenance.protocol == last.provenance.protocol
    assert "(0 on the CT template, 2 procedural)" in first.card.held_out
    assert first.provenance.training_data.endswith("; the first blocks, on the template alone")
    assert not last.provenance.training_data.endswith("alone")
    names = ("nets-template", "nets")
    early, late = (load_net(built[1] / name / "munet.pt").net.state_dict() for name in names)
    assert any(not torch.equal(early[key], late[key]) for key in late)


@pytest.mark.slow
def test_a_finished_training_is_not_trained_again_and_another_is_refused(
    built: tuple[Bundle, Path, list[str]], shared_data: Path
) -> None:
    lines: list[str] = []
    anatomy = shared_data / "ct_template"
    train_nets(miniature(), built[1], anatomy, Machine(workers=0), lines.append)
    assert lines == []
    other = replace(miniature(), seed=50)
    with pytest.raises(ValueError, match="holds the training of another protocol; choose another folder"):
        train_nets(other, built[1], anatomy, Machine(workers=0), lines.append)
    with pytest.raises(ValueError, match="was begun with --anatomy; go on as it was begun"):
        train_nets(miniature(), built[1], None, Machine(workers=0), lines.append)


@pytest.mark.slow
def test_onnx_files_name_no_folder_of_the_machine_that_built_them(built: tuple[Bundle, Path, list[str]]) -> None:
    paths = [*(built[1] / "bundle").glob("*.onnx"), *(built[1] / "bundle-int8").glob("*.onnx")]
    assert len(paths) == 4
    for path in paths:
        assert not re.search(rb"\.py\b", _without_numbers(onnx.load(path)))


def _without_numbers(model: onnx.ModelProto) -> bytes:
    """All that the file says in words: among a million weights three bytes read ``.py`` by chance."""
    constants = [attribute.t for node in model.graph.node for attribute in node.attribute]
    for tensor in (*model.graph.initializer, *constants):
        tensor.CopyFrom(onnx.TensorProto(name=tensor.name))
    return model.SerializeToString()


@pytest.mark.slow
def test_a_kept_net_is_exported_again_with_its_parity_check(built: tuple[Bundle, Path, list[str]]) -> None:
    kept = built[1] / "nets" / "slice_classifier.pt"
    exported = export_saved(kept, miniature(), None)
    assert exported.parity < 1e-3
    assert [out.name for out in onnx.load_from_string(exported.content).graph.output] == ["logits", "distance"]
    trained = load_net(kept)
    assert (trained.architecture, trained.reads) == ("slice_classifier", "neighbours")
    assert not trained.net.training


@pytest.mark.slow
def test_mirrored_nets_say_of_a_mirror_image_what_they_say_of_the_slice(
    built: tuple[Bundle, Path, list[str]],
) -> None:
    plan = replace(miniature(), mirrored=True)
    stacks = other_stacks(plan, None)
    nets = exported_nets(built[1] / "nets", plan, stacks, built[2].append)
    shown = scan_input(stacks[0], "neighbours", plan.preprocessing)
    mirrored = np.ascontiguousarray(shown[..., ::-1])
    for files in (nets.files, small_nets(nets, plan, stacks, built[2].append).files):
        masks, turned = (ran(files["munet.onnx"], image)[0] for image in (shown, mirrored))
        np.testing.assert_allclose(turned[..., ::-1], masks, atol=1e-4 * np.abs(masks).max())
        assert np.abs(masks - masks[..., ::-1]).max() > 0.01 * np.abs(masks).max(), "heads are not symmetrical"
        labels, of_mirrored = (ran(files["slice_classifier.onnx"], image) for image in (shown, mirrored))
        for one, other in zip(labels, of_mirrored, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(one).max())


def ran(content: bytes, image: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"image": image})


@pytest.mark.slow
def test_an_exam_is_measured_by_what_the_predictor_says(built: tuple[Bundle, Path, list[str]]) -> None:
    bundle = built[0]
    record = run_exam(ExamOrder(77, bleeding=True, anatomy=None, bundle=bundle.path, every_slice=True))
    made = study(77, status=WorklistStatus.SUSPECTED)
    volume = volume_of(made)
    check_living_head(volume)
    predictor = Predictor.load(bundle.path, "cpu", threads=1)
    gate = predictor.gate(volume)
    said = predictor.segment(volume, gate, every_slice=True)
    assert record.refused == ""
    assert record.score == said.result.score
    np.testing.assert_array_equal(record.probabilities, gate.slice_probabilities)
    assert record.slices_segmented == len(volume.sources)
    assert (record.overlap_ml <= np.minimum(record.true_ml, record.marked_ml) + 1e-9).all()
    for column, subtype in enumerate(SUBTYPES, start=1):
        assert record.true_ml[column] == pytest.approx(made.ml[subtype], rel=0.35, abs=1.0)


def small() -> Protocol:
    """The protocol in miniature on pixels of 4 mm and stacks of two slices, of the template for two blocks of three."""
    plan, quick = miniature(), {"steps": 3, "batch": 4, "crop": (64, 64)}
    return replace(
        plan,
        data=DataPlan(blocks=3, template_stacks=1, procedural_stacks=1, slices=2, kept=1, template_first=2),
        preprocessing=PreprocessSpec(size=64, pixel_mm=4.0),
        slice_classifier=replace(plan.slice_classifier, **quick),
        munet=replace(plan.munet, **quick),
    )


D_UNET = replace(small().munet, architecture="d_unet", options={})


def test_other_stacks_serve_every_protocol_with_slices_enough_for_the_parity_check() -> None:
    found = other_stacks(small(), None)
    assert {one.shape for one in found} == {(2, 64, 64)}
    assert sum(map(len, found)) >= PARITY_SLICES


def test_a_training_that_was_stopped_ends_with_the_nets_of_an_unbroken_one(tmp_path: Path) -> None:
    plan = replace(small(), data=replace(small().data, kept=2))
    lines: list[str] = []

    def stop(line: str) -> None:
        if line == "block 3 of 3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_nets(plan, tmp_path / "stopped", None, Machine(workers=0), stop)
    train_nets(plan, tmp_path / "stopped", None, Machine(workers=0), lines.append)
    assert [line for line in lines if line.startswith("block")] == ["block 2 of 3 made again", "block 3 of 3"]
    train_nets(plan, tmp_path / "unbroken", None, Machine(workers=0), lines.append)
    for name in ("slice_classifier.pt", "munet.pt"):
        stopped, unbroken = (
            load_net(tmp_path / folder / "nets" / name).net.state_dict() for folder in ("stopped", "unbroken")
        )
        assert all(torch.equal(stopped[key], unbroken[key]) for key in unbroken)


@pytest.mark.parametrize(
    ("plan", "anatomy", "sentence"),
    [
        (replace(small(), exams=ExamPlan(0, 1, 0, 2)), None, "two of each or more"),
        (replace(small(), exams=ExamPlan(0, 2, 2, 0)), Path("template"), "judges what the template alone taught"),
        (replace(small(), munet=D_UNET), None, "d_unet cannot be trained on made heads; munet, slice_class"),
    ],
)
def test_what_can_make_no_bundle_is_refused_before_anything_is_trained(
    plan: Protocol, anatomy: Path | None, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        build_bundles(plan, tmp_path / "out", anatomy, Machine(workers=0), (), NOW, print)
    assert not (tmp_path / "out").exists()


def test_a_series_that_is_none_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    with pytest.raises(ValueError, match="series holds no DICOM instance"):
        build_bundles(small(), tmp_path / "out", None, Machine(workers=0), [tmp_path / "series"], NOW, print)
    assert not (tmp_path / "out").exists()


def test_what_is_no_kept_net_is_named(tmp_path: Path) -> None:
    words, numbers = tmp_path / "words.pt", tmp_path / "numbers.pt"
    words.write_text("words")
    torch.save({"weights": torch.zeros(3)}, numbers)
    with pytest.raises(ValueError, match=r"words\.pt was not written by trainer train"):
        load_net(words)
    with pytest.raises(ValueError, match=r"numbers\.pt does not hold .*: architecture, options, reads, state"):
        load_net(numbers)


def test_commands_explain_themselves_with_an_example() -> None:
    for command in ([], *([name] for name in main.commands)):
        shown = CliRunner().invoke(main, [*command, "--help"])
        assert shown.exit_code == 0
        assert "Example:" in shown.output


def test_a_wrong_protocol_ends_with_one_sentence(tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["train", str(tmp_path), "--protocol", "nothing"])
    assert ended.exit_code == 1
    assert ended.stderr.startswith("Error: there is no protocol 'nothing': give one of demo, denseunet, ")
    assert ended.stderr.endswith(", or the path of a TOML file\n")
    assert ended.stderr.count("\n") == 1


def test_a_protocol_without_exams_ends_with_one_sentence_before_it_is_trained(tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["train", str(tmp_path / "out"), "--protocol", "ablation"])
    assert ended.exit_code == 1
    assert ended.stderr == (
        "Error: the protocol ablation needs calibration exams and test exams, two of each or more\n"
    )
    assert not (tmp_path / "out").exists()
