"""``trainer evaluate`` and ``trainer compare`` as a person gives them, on a small run."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import lxml.html
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from tests.caches import Made, cache_in_memory, written_cache
from tests.small_protocols import NARROW, SMALL_CLASSIFIER, SMALL_UNET, small_protocol
from trainer.cli import main
from trainer.datasets.cache import Cache, open_cache
from trainer.experiment.checkpoint import read_history
from trainer.experiment.fold_training import Machine
from trainer.experiment.protocol import (
    BalanceSpec,
    ExperimentProtocol,
    FitSpec,
    InputSpec,
    LossSpec,
    NetSpec,
    SplitSpec,
)
from trainer.experiment.run import Options, run_experiment
from trainer.experiment.run_folder import load_run
from trainer.experiment.split import Fold, Split
from trainer.experiment.truth import slice_truth
from trainer.nets.cost import cost_of
from trainer.reports.cost import measured_cost
from trainer.reports.evaluate import part_counts
from trainer.reports.evaluation import Evaluation, load_evaluation, save_evaluation
from trainer.reports.result import experiment_result

PROTOCOL = small_protocol(
    classes="binary",
    nets=(SMALL_UNET, SMALL_CLASSIFIER),
    loss=LossSpec(mask="dice", label="bce"),
    fit=FitSpec(epochs=2, batch=8, checkpoint_every=2),
    input=InputSpec(size=32, windows=((40.0, 80.0), (80.0, 200.0))),
)
MADE = Made(patients=10, slices=4)


def trained(folder: Path, cache: Path, protocol: ExperimentProtocol = PROTOCOL, net: str | None = None) -> Path:
    run_experiment(folder, protocol, open_cache(cache), Options(net=net), "2026-01-01T00:00:00Z", lambda _: None)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_cache(tmp_path_factory.mktemp("data") / "cache", MADE).folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "run", cache)


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Path:
    """A finished run that nobody evaluated."""
    return Path(shutil.copytree(kept, tmp_path / "run"))


def trainer(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def evaluated(*arguments: object) -> str:
    """What was told on the way."""
    result = trainer("evaluate", *arguments)
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stderr


def refused(command: str, *arguments: object) -> str:
    """The one sentence of a command that fails, after what it told on the way."""
    result = trainer(command, *arguments)
    assert result.exit_code == 1
    told = result.stderr.splitlines()
    assert [line.startswith("Error: ") for line in told] == [False] * (len(told) - 1) + [True]
    return told[-1]


def words(folder: Path) -> str:
    return " ".join(lxml.html.fromstring((folder / "report.html").read_text(encoding="utf-8")).text_content().split())


def content(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


def test_a_run_is_evaluated_from_what_its_folder_says(run: Path, cache: Path) -> None:
    told = evaluated(run, "--threads", 1)
    assert "the locked test part is opened: 8 slices" in told
    assert "d_unet: asked about the test part\nslice_classifier: asked about the test part" in told
    assert load_run(run).record.cache == str(cache)
    (found,) = content(run)["experiments"]
    assert [net["name"] for net in found["nets"]] == ["d_unet", "slice_classifier"]
    assert all(set(net["parts"]) == {"validation", "test"} for net in found["nets"])
    assert found["facts"]["data set"] == "phantom"
    assert found["facts"]["licence"] == "made by the tests"
    assert found["facts"]["training"] == "began 2026-01-01T00:00:00Z on cpu"
    assert found["synthetic"]
    assert set(found["checkpoints"]["d_unet"]) == {"2"}
    said = words(run)
    assert "d_unet epoch by epoch" in said
    assert "Worst cases of d_unet" in said
    assert "warm: the map that the net pools" in said
    assert "slice_classifier − d_unet" in said or "d_unet − slice_classifier" in said


def test_parts_are_counted_as_they_are(run: Path, cache: Path) -> None:
    evaluated(run)
    table, split = open_cache(cache).table, load_run(run).split()
    counted = {part["name"]: part for part in content(run)["experiments"][0]["split"]}
    assert set(counted) == {"locked test", "training", "validation"}
    for name, rows in (
        ("locked test", split.test),
        ("training", split.folds[0].train),
        ("validation", split.folds[0].validation),
    ):
        assert counted[name]["patients"] == len(set(table["patient"][rows].tolist()))
        assert counted[name]["slices"] == len(rows)
        assert counted[name]["positive"] == int((table["labels"][rows, 0] == 1).sum())


def test_patients_whom_nobody_names_are_not_counted() -> None:
    nameless = cache_in_memory(replace(MADE, named=False))
    rows = np.arange(8, dtype=np.int64)
    split = Split("", "image", rows[:0], (Fold(rows[:4], rows[4:]), Fold(rows[4:], rows[:4])))
    counted = part_counts(split, nameless, slice_truth(nameless))
    assert [part.name for part in counted] == [
        "training, fold 1",
        "validation, fold 1",
        "training, fold 2",
        "validation, fold 2",
    ]
    assert {part.patients for part in counted} == {None}


def test_what_a_net_costs_is_measured(run: Path) -> None:
    opened = load_run(run)
    cost = measured_cost(opened, "d_unet", pictures=False, machine=Machine())
    counted = cost_of("d_unet", SMALL_UNET.options, in_channels=2, classes=1, size=32)
    weights = torch.load(run / "d_unet" / "fold-0" / "weights.pt", weights_only=True)["state"]
    assert cost.parameters == counted.parameters
    assert cost.parameters <= sum(value.numel() for value in weights.values())
    assert cost.gflop_per_slice == counted.gflop
    assert cost.training_seconds == sum(epoch["seconds"] for epoch in read_history(run / "d_unet" / "fold-0"))
    assert cost.ms_per_slice is not None
    assert cost.ms_per_slice > 0
    threads = torch.get_num_threads()
    assert cost.machine.endswith(f", {threads} {'thread' if threads == 1 else 'threads'}, one slice at a time")


@pytest.mark.slow
def test_the_test_part_is_opened_once_and_a_later_net_is_a_second_look(run: Path) -> None:
    evaluated(run)
    once = load_evaluation(load_run(run)).opened_at
    assert len(once) == 1
    first = (run / "d_unet" / "test.npz").read_bytes()
    told = evaluated(run)
    assert f"the locked test part was opened before, first at {once[0]}" in told
    assert "asked about" not in told
    assert load_evaluation(load_run(run)).opened_at == once

    (run / "slice_classifier" / "test.npz").unlink()
    told = evaluated(run)
    assert "slice_classifier: asked about the test part" in told
    assert "d_unet: asked" not in told
    assert (run / "d_unet" / "test.npz").read_bytes() == first
    twice = load_evaluation(load_run(run)).opened_at
    assert len(twice) == 2
    assert twice[0] == once[0]
    fact = content(run)["experiments"][0]["facts"]["locked test part"]
    assert fact == f"opened 2 times, first at {twice[0]}, last at {twice[1]}"


def test_a_look_that_was_broken_off_is_written_down(run: Path) -> None:
    (run / "d_unet" / "fold-0" / "weights.pt").write_bytes(b"nothing")
    assert "holds no weights that this release can read" in refused("evaluate", run)
    assert len(load_evaluation(load_run(run)).opened_at) == 1
    assert not list(run.glob("*/test.npz"))


@pytest.mark.slow
def test_an_external_set_is_a_part_of_its_own(run: Path, tmp_path: Path) -> None:
    outside = written_cache(tmp_path / "outside", replace(MADE, patients=4, seed=7))
    told = evaluated(run, "--external", f"else-where={outside.folder}")
    assert "d_unet: asked about else-where" in told
    (found,) = content(run)["experiments"]
    assert all("else-where" in net["parts"] for net in found["nets"])
    count = {"name": "external set else-where", "patients": 4, "slices": 16, "positive": 4}
    assert found["split"][-1] == count
    digest = outside.description.digest
    assert found["facts"]["external set else-where"] == f"phantom; made by the tests; SHA-256 {digest}"
    result = experiment_result(load_run(run))
    assert len(result.nets[0].parts["else-where"]) == 16
    assert result.digests["else-where"] == digest
    evaluated(run)
    assert "else-where" in content(run)["experiments"][0]["nets"][0]["parts"], "it stays when the command is given anew"


def test_an_external_set_that_labels_patients_alone_gives_figures_of_scans_alone(run: Path, tmp_path: Path) -> None:
    """As CQ500 does: of no slice anybody says whether it shows blood."""
    made = replace(MADE, patients=6, labelled=False, drawn=False, seed=7)
    outside = written_cache(tmp_path / "outside", made)
    evaluated(run, "--external", f"cq500={outside.folder}")
    (found,) = content(run)["experiments"]
    count = {"name": "external set cq500", "patients": 6, "slices": 24, "positive": None}
    assert found["split"][-1] == count
    classifier = {net["name"]: net["parts"] for net in found["nets"]}["slice_classifier"]["cq500"]
    assert {measure["level"] for measure in classifier} == {"scan"}
    assert {"AUC", "sensitivity", "specificity"} <= {measure["name"] for measure in classifier}
    assert {measure["n"] for measure in classifier if measure["name"] in ("sensitivity", "specificity")} == {3}
    assert "external set cq500624not known" in words(run)


def test_what_does_not_fit_is_refused_before_the_test_part_is_opened(run: Path, tmp_path: Path, cache: Path) -> None:
    large = written_cache(tmp_path / "large", Made(size=64)).folder
    nothing = written_cache(tmp_path / "nothing", Made(patients=2, labelled=False, studied=False, drawn=False)).folder
    (tmp_path / "empty").mkdir()
    external = {
        f"x={large}": "run trainer prepare with --size 32 --geometry resize",
        f"x={cache}": "is what the nets were trained on; an external set is another one",
        f"x={nothing}": "leaves no slice of phantom",
        f"x={tmp_path / 'empty'}": "holds no finished cache",
        str(large): "--external takes NAME=CACHE",
        f"a b={large}": "--external takes NAME=CACHE",
        f"test={large}": "an external set cannot be called test",
    }
    for given, sentence in external.items():
        assert sentence in refused("evaluate", run, "--external", given)
    assert "names x twice" in refused("evaluate", run, "--external", f"x={large}", "--external", f"x={large}")
    assert "was trained on another cache than" in refused("evaluate", run, "--data", large)
    assert not (run / "evaluation.json").exists()
    assert not list(run.glob("*/test.npz"))


def test_a_cache_that_moved_is_named(kept: Path, tmp_path: Path, cache: Path) -> None:
    moved = Path(shutil.copytree(cache, tmp_path / "there"))
    run = trained(tmp_path / "run", moved, net="slice_classifier")
    moved.rename(tmp_path / "here")
    assert f"is no longer at {moved}: say with --data where it is" in refused("evaluate", run)
    evaluated(run, "--data", tmp_path / "here")


@pytest.mark.slow
def test_nets_that_are_not_trained_are_left_out(tmp_path: Path, cache: Path) -> None:
    protocol = replace(PROTOCOL, split=SplitSpec("patient", test=0.2, folds=2))
    run = trained(tmp_path / "run", cache, protocol, net="slice_classifier")
    (run / "slice_classifier" / "fold-1" / "predictions.npz").rename(tmp_path / "predictions.npz")
    assert "holds no net whose folds are all trained; run trainer train again" in refused("evaluate", run)
    (tmp_path / "predictions.npz").rename(run / "slice_classifier" / "fold-1" / "predictions.npz")
    assert "d_unet is left out: its folds are not all trained" in evaluated(run)
    (found,) = content(run)["experiments"]
    assert [net["name"] for net in found["nets"]] == ["slice_classifier"]
    assert found["facts"]["not trained"] == "d_unet"
    assert found["facts"]["who answers"].startswith("Validation: each of the 2 folds by the net that did not train")


def test_without_a_test_part_validation_is_what_there_is(tmp_path: Path, cache: Path) -> None:
    protocol = replace(PROTOCOL, split=SplitSpec("patient", test=0.0, validation=0.3), nets=(SMALL_CLASSIFIER,))
    run = trained(tmp_path / "run", cache, protocol)
    assert "small locks no test part away: its figures are those of validation" in evaluated(run)
    (found,) = content(run)["experiments"]
    assert list(found["nets"][0]["parts"]) == ["validation"]
    assert found["facts"]["locked test part"] == "never opened"
    assert "No locked test." in words(run)


@pytest.mark.parametrize("kind", ["smote_pixel", "smote_feature"])
def test_who_was_trained_with_made_slices_says_so(tmp_path: Path, cache: Path, kind: Any) -> None:
    light = NetSpec("light_classifier", NARROW["light_classifier"])
    protocol = replace(PROTOCOL, balance=BalanceSpec(kind), nets=(light,), fit=FitSpec(epochs=1, batch=8))
    run = trained(tmp_path / "run", cache, protocol)
    evaluated(run)
    said = words(run)
    assert ("SMOTE on pixels averages pictures of different heads" in said) == (kind == "smote_pixel")
    assert ("known to harm" in said) == (kind == "smote_pixel")
    assert ("no picture is made" in said) == (kind == "smote_feature")


@pytest.mark.slow
def test_runs_of_one_split_are_compared_slice_by_slice(run: Path, tmp_path: Path, cache: Path) -> None:
    again = trained(tmp_path / "again", cache, replace(PROTOCOL, fit=FitSpec(epochs=1, batch=4)))
    evaluated(run)
    evaluated(again)
    result = trainer("compare", run, again, tmp_path / "both")
    assert result.stdout == f"{tmp_path / 'both' / 'report.html'}\n"
    across = content(tmp_path / "both")["across"]
    assert across["reasons"] == []
    test = next(one for one in across["comparisons"] if one["part"] == "test")
    assert {pair["first"] for pair in test["paired"]} <= {
        f"small ({number}): {net}" for number in (1, 2) for net in ("d_unet", "slice_classifier")
    }
    assert len(test["paired"]) == 6
    said = words(tmp_path / "both")
    assert "2 experiments: small (1), small (2)." in said
    assert "small (1): d_unet − small (2): d_unet" in said
    assert not (tmp_path / "both" / "evaluation.json").exists()


@pytest.mark.slow
def test_runs_on_different_caches_say_why_they_are_not_paired(run: Path, tmp_path: Path) -> None:
    other = trained(tmp_path / "other", written_cache(tmp_path / "cache", replace(MADE, seed=9)).folder)
    evaluated(run)
    result = trainer("compare", run, other, tmp_path / "both")
    assert result.exit_code == 0
    across = content(tmp_path / "both")["across"]
    assert across["comparisons"] == []
    assert across["reasons"] == [
        "validation: the experiments used different caches, so none of their slices are the same.",
        "test: only small (1) has this part.",
    ]
    assert "Not counted: trainer evaluate was not run." in words(tmp_path / "both")


def test_what_cannot_be_compared_or_evaluated_is_one_sentence(run: Path, tmp_path: Path) -> None:
    assert "two runs or more" in refused("compare", run, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "is no folder that trainer train wrote" in refused("compare", run, tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    other = Path(shutil.copytree(run, tmp_path / "other"))
    assert "is a run and keeps its own report" in refused("compare", run, other, run)
    assert not (run / "report.html").exists()
    assert "is neither a run nor a bundle" in refused("evaluate", tmp_path / "empty")
    assert "--card is an option for a bundle, and" in refused("evaluate", run, "--card", tmp_path / "card.md")
    (tmp_path / "empty" / "bundle.json").write_text("{}")
    assert "--external is an option for a run, and" in refused("evaluate", tmp_path / "empty", "--external", "a=b")
    assert "SHA256SUMS of the bundle empty cannot be read" in refused("evaluate", tmp_path / "empty")
    if not torch.cuda.is_available():
        assert "there is no GPU that torch can use" in refused("evaluate", run, "--device", "cuda")


def test_what_was_evaluated_is_read_back_and_a_broken_file_is_named(run: Path) -> None:
    opened = load_run(run)
    assert load_evaluation(opened) == Evaluation()
    written = Evaluation().opened("2026-01-01T00:00:00+00:00").opened("2026-01-02T00:00:00+00:00")
    save_evaluation(opened, written)
    assert load_evaluation(opened) == written
    (run / "evaluation.json").write_text('{"opened_at": 3}')
    with pytest.raises(ValueError, match=r"evaluation\.json cannot be read by this release"):
        load_evaluation(opened)


def test_a_run_is_told_where_its_cache_lay_even_if_it_was_given_from_here(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cache.parent)
    given: Cache = open_cache(Path("cache"))
    run_experiment(
        tmp_path / "run",
        replace(PROTOCOL, nets=(SMALL_CLASSIFIER,)),
        given,
        Options(epochs=1, steps=1),
        "2026-01-01T00:00:00Z",
        lambda _: None,
    )
    assert load_run(tmp_path / "run").record.cache == str(cache)
