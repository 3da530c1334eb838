"""``trainer export`` as a person gives it, from a run to a bundle in the daemon's hands."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.caches import Made, written_cache
from tests.exported import (
    LARGE_HEADS,
    WINDOWS,
    bleeding_series,
    finished_run,
    given,
    protocol_of,
    trained_run,
)
from tests.studies import installation
from trainer.bundles import precision
from trainer.datasets.cache import Cache
from trainer.experiment.fold_training import Machine
from trainer.experiment.protocol import InputSpec, LossSpec, SplitSpec
from trainer.experiment.testing import predict_test
from triage.domain.encoded import ObjectKind
from triage.domain.finding import Subtype, WorklistStatus
from triage.inference.bundle import Bundle, load_bundle
from triage.inference.manifest import Figure
from triage.inference.predict import Predictor
from triage.store import result_objects


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return written_cache(tmp_path_factory.mktemp("data") / "cache", LARGE_HEADS)


@pytest.fixture(scope="module")
def trained(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("trained"), cache)


@pytest.fixture(scope="module")
def exported(trained: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, str, str]:
    """Its bundle, and what was said."""
    out = tmp_path_factory.mktemp("exported") / "bundle"
    code, said, told = given("export", trained, out, "--threads", 1, "--sensitivity", 0.9, "--version", "2.1")
    assert code == 0, told
    return load_bundle(out), said, told


def test_a_trained_net_becomes_a_bundle_that_knows_itself(exported: tuple[Bundle, str, str], cache: Cache) -> None:
    bundle, said, told = exported
    manifest = bundle.manifest
    assert said == f"bundle small-d_unet 2.1, digest {bundle.digest}: {bundle.path}\n"
    assert "d_unet: largest logit difference to ONNX Runtime" in told
    assert "for a sensitivity of 0.9: there the sensitivity is 1.000" in told
    assert (manifest.name, manifest.version, manifest.names_subtypes) == ("small-d_unet", "2.1", False)
    assert manifest.preprocessing.pixel_mm == 8.0
    assert manifest.preprocessing.windows == (*WINDOWS[:2], WINDOWS[1])
    assert manifest.provenance.demonstration
    assert f"cache sha256 {cache.description.digest}" in manifest.provenance.training_data
    assert "licence: made by the tests" in manifest.provenance.training_data
    assert all(card.parity is not None and card.parity < 1e-3 for card in (manifest.slice_classifier, manifest.munet))
    assert manifest.reference is None


def test_its_figures_are_called_optimistic_until_the_test_part_is_opened(exported: tuple[Bundle, str, str]) -> None:
    bundle, _, _ = exported
    card = bundle.manifest.card
    assert "SYNTHETIC scans of phantom of the validation part" in card.held_out
    assert "optimistic" in card.held_out
    figures: dict[str, Figure] = {figure.name: figure for figure in card.figures}
    assert figures["scan AUC"].value == 1.0
    assert figures["scan sensitivity"].value >= 0.9
    assert figures["Dice any, pooled over scans"].value > 0.6  # .76 to .85, as the processor rounds
    text = (bundle.path / "card.md").read_text(encoding="utf-8")
    assert all(name in text for name in figures)
    for sentence in (
        "SYNTHETIC. DEMONSTRATION ONLY.",
        "| ICH | Intracranial hemorrhage of unspecified type | ICH, 99ICHTRIAGE |",
        "- Everything about it is small.",
        "- The net reads 2 of the three windows",
        "- The net was taught blood and not its type",
    ):
        assert sentence in text


def test_every_digest_of_its_provenance_can_be_recomputed(exported: tuple[Bundle, str, str], trained: Path) -> None:
    bundle, _, _ = exported
    found = json.loads((bundle.path / "provenance.json").read_text(encoding="utf-8"))
    digests = found["sha256"]
    for name, file in (("split", "split.json"), ("weights", "d_unet/fold-0/weights.pt")):
        assert digests[name] == hashlib.sha256((trained / file).read_bytes()).hexdigest()
    assert (found["net"], found["fold"], found["precision"]) == ("d_unet", 0, "fp32")
    assert found["protocol"]["fit"]["epochs"] == 15
    assert found["limit"]["wanted_sensitivity"] == 0.9
    assert found["labels"][1]["output"] == "ICH"


def test_a_site_that_uses_it_sends_a_report_of_blood_of_unspecified_type(
    exported: tuple[Bundle, str, str], database_url: str, tmp_path: Path
) -> None:
    bundle, _, _ = exported

    datasets = bleeding_series()
    with installation(database_url, tmp_path / "blobs") as site:
        site.predictor = Predictor.load(bundle.path, "cpu", threads=1)
        site.send(datasets)
        site.wait(60)
        site.assemble()
        while site.analyse():
            pass
        row = site.row(str(datasets[0].StudyInstanceUID))
        assert row.status is WorklistStatus.SUSPECTED
        assert set(row.subtypes) == {Subtype.ICH}
        with site.db.read() as tx:
            made = {o.kind: o.blob_key for o in result_objects.of_study(tx, row.study_instance_uid)}
        assert set(made) >= {ObjectKind.SEG, ObjectKind.SR}
        report = str(dcmread(io.BytesIO(site.blobs.read(made[ObjectKind.SR]))))
    assert "small-d_unet" in report
    assert "Intracranial hemorrhage of unspecified type" in report


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["int8", "fp16"])
def test_a_smaller_precision_that_loses_little_replaces_the_bundle(
    wanted: str, exported: tuple[Bundle, str, str], trained: Path, cache: Cache, tmp_path: Path
) -> None:
    before, out = exported[0], tmp_path / "bundle"
    shutil.copytree(before.path, out)
    code, said, told = given(
        "export", trained, out, "--data", cache.folder, "--precision", wanted, "--threads", 1, "--name", "small-one"
    )
    assert code == 0, told
    after = load_bundle(out)
    assert after.digest != before.digest
    assert f"bundle small-one 1, digest {after.digest}" in said
    assert any(remark.startswith(f"{wanted} in place of fp32: on the") for remark in after.manifest.card.remarks)
    parity = after.manifest.munet.parity
    assert parity is not None
    assert before.manifest.munet.parity is not None
    assert parity > before.manifest.munet.parity
    assert (out / "munet.onnx").stat().st_size != (before.path / "munet.onnx").stat().st_size
    Predictor.load(out, "cpu", threads=1)


def test_a_precision_that_loses_too_much_is_refused_and_nothing_is_written(
    trained: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "MOST_DICE_LOST", -1.0)
    code, _, told = given(
        "export", trained, tmp_path / "out", "--data", cache.folder, "--precision", "int8", "--threads", 1
    )
    assert code == 1
    assert told.splitlines()[-1].startswith("Error: int8 is refused: on the validation scans AUC")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_subtypes_are_named_and_the_test_part_measured_once_it_was_opened(cache: Cache, tmp_path: Path) -> None:
    run = finished_run(
        tmp_path / "run",
        cache,
        protocol_of("munet", input=InputSpec(size=32, geometry="raster", windows=WINDOWS)),
    )
    predict_test(run, cache, "munet", Machine())
    code, _, told = given("export", run.folder, tmp_path / "out", "--data", cache.folder, "--fold", 0, "--threads", 1)
    assert code == 0, told
    manifest = load_bundle(tmp_path / "out").manifest
    assert manifest.names_subtypes
    assert "locked test part, which neither training nor limits have seen" in manifest.card.held_out
    assert "slice AUC any, classifier" in {figure.name for figure in manifest.card.figures}
    assert "Subdural hemorrhage" in (tmp_path / "out" / "card.md").read_text(encoding="utf-8")


def refused(run: Path, out: Path, *arguments: object) -> str:
    code, _, told = given("export", run, out, *arguments)
    assert code == 1
    assert told.count("\n") == 1
    return told


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["--net", "munet"], "small has no net munet; it has d_unet"),
    (["--fold", "3"], "fold 3 of d_unet is not finished"),
    (["--fold", "worst"], "--fold is a number from 0, or best"),
    (["--sensitivity", "0"], "a wanted sensitivity lies above 0"),
    (["--no-demonstration"], "must be marked demonstration"),
], ids=str)  # fmt: skip
def test_what_cannot_be_meant_is_one_sentence(
    arguments: Sequence[str], sentence: str, trained: Path, cache: Cache, tmp_path: Path
) -> None:
    assert sentence in refused(trained, tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_other_folders_are_never_overwritten(trained: Path, cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").write_text("SYNTHETIC")
    for out, sentence in ((tmp_path / "letters", "holds love.txt"), (tmp_path / "letters/love.txt", "is no folder")):
        assert sentence in refused(trained, out, "--data", cache.folder)
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["love.txt"]


def test_another_cache_and_a_folder_without_a_run_are_refused(trained: Path, cache: Cache, tmp_path: Path) -> None:
    other = written_cache(tmp_path / "cache", Made(seed=9))
    assert "trained on another cache" in refused(trained, tmp_path / "out", "--data", other.folder)
    told = refused(cache.folder, tmp_path / "out", "--data", other.folder)
    assert "no folder that trainer train wrote" in told


@pytest.mark.parametrize(("changes", "made", "sentence"), [
    ({"input": InputSpec(size=32, windows=WINDOWS, clahe=True)}, Made(slices=2), "equalised contrast (input.clahe)"),
    ({"input": InputSpec(size=32, windows=WINDOWS, bone_removal=True)}, Made(slices=2), "without bone"),
    ({"loss": LossSpec("dice")}, Made(slices=2, bleeding=0), "of 3 scans 0 are known to show blood and 3"),
    ({"split": SplitSpec("patient", validation=0.0)}, Made(slices=2), "of 0 scans 0 are known to show blood"),
], ids=["clahe", "bone", "no blood", "no validation"])  # fmt: skip
def test_what_the_daemon_cannot_serve_is_refused_before_anything_is_run(
    changes: dict[str, object], made: Made, sentence: str, tmp_path: Path
) -> None:
    cache = written_cache(tmp_path / "cache", made)
    run = finished_run(tmp_path / "run", cache, protocol_of("d_unet", **changes))
    assert sentence in refused(run.folder, tmp_path / "out", "--data", cache.folder)


def test_a_cache_that_has_moved_is_asked_for(tmp_path: Path) -> None:
    cache = written_cache(tmp_path / "cache", Made(slices=2))
    run = finished_run(tmp_path / "run", cache, protocol_of("d_unet", input=InputSpec(size=32, clahe=True)))
    cache.folder.rename(tmp_path / "elsewhere")
    assert "is no longer at" in refused(run.folder, tmp_path / "out")
    assert "input.clahe" in refused(run.folder, tmp_path / "out", "--data", tmp_path / "elsewhere")


def test_a_run_without_a_finished_net_is_refused(cache: Cache, tmp_path: Path) -> None:
    protocol = protocol_of("d_unet", input=InputSpec(size=32, geometry="raster"))
    run = finished_run(tmp_path / "run", cache, protocol)
    (run.fold_folder("d_unet", 0) / "predictions.npz").unlink()
    assert "no fold of d_unet is finished" in refused(run.folder, tmp_path / "out", "--data", cache.folder)
