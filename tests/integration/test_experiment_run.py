"""Whole runs in miniature: training, resuming, predictions, folders."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.caches import Made, written_cache
from tests.small_protocols import SMALL_CLASSIFIER, SMALL_MUNET, SMALL_UNET, small_protocol
from trainer.datasets.cache import Cache
from trainer.experiment.checkpoint import load_tensors, read_history, write_history
from trainer.experiment.fold_training import Machine, load_net
from trainer.experiment.job import Saving
from trainer.experiment.predictions import Predictions
from trainer.experiment.protocol import (
    AugmentSpec,
    BalanceSpec,
    ExperimentProtocol,
    FitSpec,
    InputSpec,
    LossSpec,
    NetSpec,
    OptimiserSpec,
    SplitSpec,
)
from trainer.experiment.run import Options, run_experiment
from trainer.experiment.run_folder import Run, load_run
from trainer.experiment.testing import best_fold, check_external, predict_external, predict_test

BEGAN = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return written_cache(tmp_path_factory.mktemp("data") / "cache", Made(patients=10, slices=4))


def train(out: Path, protocol: ExperimentProtocol, cache: Cache, **options: Any) -> Run:
    return run_experiment(out, protocol, cache, Options(**options), BEGAN, lambda line: None)


def weights(run: Run, net: str = "munet", fold: int = 0, name: str = "weights.pt") -> dict[str, torch.Tensor]:
    content = load_tensors(run.fold_folder(net, fold) / name)
    state: dict[str, torch.Tensor] = content["state" if name == "weights.pt" else "net"]
    return state


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


class Killed(BaseException):
    """What no handler catches, as a kill."""


def train_killed_after(out: Path, protocol: ExperimentProtocol, cache: Cache, steps: int) -> None:
    """Train, and die in the middle of a step; the state is written every second step."""
    seen = 0
    whole = torch.optim.Adam.step

    class Dying(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:
            nonlocal seen
            seen += 1
            if seen > steps:
                raise Killed
            return whole(self, closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "Adam", Dying)
        with pytest.raises(Killed):
            train(out, protocol, cache, machine=Machine(saving=Saving(steps=2)))


EVERYTHING = small_protocol(
    augment=AugmentSpec(flip=True, rotation_deg=10, shift=0.05, noise=0.02),
    optimiser=OptimiserSpec("adam", 1e-3, schedule="plateau", patience=0),
    fit=FitSpec(epochs=3, batch=6, clip=1.0, freeze_at=2),
    balance=BalanceSpec("paste", share=0.5),
)


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory, cache: Cache) -> Run:
    return train(tmp_path_factory.mktemp("run") / "whole", EVERYTHING, cache)


@pytest.mark.parametrize("steps", [0, 1, 4, 7, 9])
def test_killed_anywhere_and_taken_up_again_gives_the_same_weights(
    tmp_path: Path, cache: Cache, never_killed: Run, steps: int
) -> None:
    train_killed_after(tmp_path / "run", EVERYTHING, cache, steps)
    again = train(tmp_path / "run", EVERYTHING, cache)
    for name in ("weights.pt", "last.pt"):
        assert_same(weights(again, name=name), weights(never_killed, name=name))
    figures = [
        [{k: v for k, v in entry.items() if k not in ("seconds", "slices_per_s")} for entry in read_history(folder)]
        for folder in (again.fold_folder("munet", 0), never_killed.fold_folder("munet", 0))
    ]
    assert figures[0] == figures[1]
    assert [entry["epoch"] for entry in figures[0]] == [1, 2, 3]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    tmp_path: Path, cache: Cache, never_killed: Run
) -> None:
    again = train(tmp_path / "again", EVERYTHING, cache, machine=Machine(threads=3))
    assert_same(weights(again), weights(never_killed))
    other = train(tmp_path / "other", replace(EVERYTHING, seed=2), cache)
    assert any(not torch.equal(a, b) for a, b in zip(weights(other).values(), weights(again).values(), strict=True))


def test_the_second_stage_trains_heads_alone(tmp_path: Path, cache: Cache) -> None:
    fit = FitSpec(epochs=2, batch=8, freeze_at=1, checkpoint_every=1, keep="last")
    run = train(tmp_path / "run", small_protocol(fit=fit), cache)
    folder = run.fold_folder("munet", 0) / "checkpoints"
    first, second = (load_tensors(folder / f"epoch-000{epoch}.pt")["state"] for epoch in (1, 2))
    moved = {name.split(".")[0] for name in first if not torch.equal(first[name], second[name])}
    assert moved == {"mask_heads", "classifier"}


def test_training_learns_what_blood_looks_like(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(fit=FitSpec(epochs=12, batch=8), optimiser=OptimiserSpec("adamw", 5e-3))
    run = train(tmp_path / "run", protocol, cache)
    history = read_history(run.fold_folder("munet", 0))
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]


def check_against_cache(predictions: Predictions, cache: Cache) -> None:
    for index, row in enumerate(predictions.row):
        mask = cache.masks[row]
        assert predictions.patient[index] == cache.description.patients[cache.table["patient"][row]]
        if predictions.drawn[index]:
            assert predictions.true_px[index, 0] == (mask > 0).sum()
            if len(predictions.classes) == 6:
                assert predictions.true_px[index, 1:].tolist() == [(mask == k).sum() for k in range(1, 6)]
        assert predictions.label[index].tolist() == cache.table["labels"][row][: len(predictions.classes)].tolist()
    assert (predictions.overlap_px <= np.minimum(predictions.true_px, predictions.marked_px)).all()
    np.testing.assert_array_equal(predictions.extent_mm, np.full(len(predictions), 5.0, np.float32))


@pytest.mark.parametrize("classes", ["binary", "subtypes"])
def test_folds_and_nets_of_every_kind(tmp_path: Path, cache: Cache, classes: str) -> None:
    protocol = small_protocol(
        classes=classes,
        split=SplitSpec("patient", test=0.2, folds=2),
        nets=(SMALL_MUNET, SMALL_CLASSIFIER, SMALL_UNET, NetSpec("gate_2p5d", {"widths": [8, 8, 8, 8]})),
        fit=FitSpec(epochs=1, batch=8),
        loss=LossSpec(mask="dice", label="bce"),
    )
    run = train(tmp_path / "run", protocol, cache)
    assert list(run.nets) == ["munet", "slice_classifier", "d_unet", "gate_2p5d"]
    split = run.split()
    everybody = np.sort(np.concatenate([split.folds[0].train, split.folds[0].validation]))
    for net in run.nets:
        assert run.finished_folds(net) == [0, 1]
        predictions = run.predictions(net)
        np.testing.assert_array_equal(np.sort(predictions.row), everybody)
        assert not set(predictions.row) & set(split.test.tolist())
        assert sorted(set(predictions.fold.tolist())) == [0, 1]
        assert (
            list(predictions.classes) == ["any", "EDH", "IPH", "IVH", "SAH", "SDH"][: 1 if classes == "binary" else 6]
        )
        assert bool(np.isnan(predictions.probability).all()) == (net == "d_unet")
        assert bool(predictions.drawn.all()) == (net in ("munet", "d_unet"))
        check_against_cache(predictions, cache)
        assert run.test_predictions(net) is None
        tested = predict_test(run, cache, net, Machine())
        np.testing.assert_array_equal(np.sort(tested.row), split.test)
        assert set(tested.fold.tolist()) == {-1}
        check_against_cache(tested, cache)
        kept = run.test_predictions(net)
        assert kept is not None
        np.testing.assert_array_equal(kept.probability, tested.probability)
        best = predict_test(run, cache, net, Machine(), using="best")
        assert best_fold(run, net) in (0, 1)
        assert len(best) == len(tested)


def test_a_finished_run_is_not_trained_again_and_another_is_refused(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(fit=FitSpec(epochs=1, batch=8))
    run = train(tmp_path / "run", protocol, cache)
    before = (run.fold_folder("munet", 0) / "weights.pt").stat().st_mtime_ns
    train(tmp_path / "run", protocol, cache)
    assert (run.fold_folder("munet", 0) / "weights.pt").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="another protocol, small"):
        train(tmp_path / "run", replace(protocol, seed=9), cache)
    other = written_cache(tmp_path / "other", Made(patients=10, slices=4, seed=9))
    with pytest.raises(ValueError, match="another cache"):
        train(tmp_path / "run", protocol, other)
    with pytest.raises(ValueError, match="has no net resnet18; it has munet"):
        train(tmp_path / "run", protocol, cache, net="resnet18")
    with pytest.raises(ValueError, match="folds 0 to 0, not 4"):
        train(tmp_path / "run", protocol, cache, fold=4)


def test_the_record_says_what_was_run(tmp_path: Path, cache: Cache) -> None:
    run = train(tmp_path / "run", small_protocol(grid={"fit.epochs": (1.0, 2.0)}), cache, epochs=1, steps=2)
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    assert content["overrides"] == {"fit.epochs": 1, "fit.steps_per_epoch": 2}
    assert content["protocol"]["fit"]["epochs"] == 1
    assert content["protocol"]["grid"] == {}
    assert content["digest"] == cache.description.digest
    assert content["licence"] == "made by the tests"
    assert {"torch", "monai", "ich-triage"} <= set(content["software"])
    assert load_run(tmp_path / "run").protocol == run.protocol
    with pytest.raises(ValueError, match="no folder that trainer train wrote"):
        load_run(tmp_path)


def test_a_net_that_reads_scans_is_not_balanced_and_says_so(tmp_path: Path, cache: Cache) -> None:
    net = NetSpec("gate_2p5d", {"widths": [8, 8, 8, 8]})
    protocol = small_protocol(
        nets=(net,), loss=LossSpec(label="bce"), fit=FitSpec(epochs=1, batch=2, steps_per_epoch=1)
    )
    run = train(tmp_path / "run", replace(protocol, balance=BalanceSpec("sampler")), cache)
    assert "gate_2p5d reads whole scans" in run.record.remarks[0]
    with pytest.raises(ValueError, match="gate_2p5d reads whole scans, and the pictures that SMOTE mixes lie in none"):
        train(tmp_path / "mixed", replace(protocol, balance=BalanceSpec("smote_pixel")), cache)
    assert not (tmp_path / "mixed").exists()


def test_one_fold_alone_and_the_rest_later(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(split=SplitSpec("patient", folds=2), fit=FitSpec(epochs=1, batch=8))
    run = train(tmp_path / "run", protocol, cache, fold=1)
    assert run.finished_folds("munet") == [1]
    with pytest.raises(ValueError, match="1 of 2 folds of munet are finished"):
        predict_test(run, cache, "munet", Machine())
    alone = weights(run, fold=1)
    train(tmp_path / "run", protocol, cache)
    assert run.finished_folds("munet") == [0, 1]
    assert_same(weights(run, fold=1), alone)


def test_checkpoints_are_kept_and_judged(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(
        split=SplitSpec("image", folds=2), variant="as_published", fit=FitSpec(epochs=4, batch=16, checkpoint_every=2)
    )
    run = train(tmp_path / "run", protocol, cache)
    judged = run.checkpoint_predictions("munet")
    assert list(judged) == [2, 4]
    assert all(len(p) == len(run.predictions("munet")) for p in judged.values())


def test_training_stops_when_nothing_gets_better(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(
        optimiser=OptimiserSpec("sgd", 0.0), fit=FitSpec(epochs=9, batch=8, monitor="dice", stop_after=2)
    )
    run = train(tmp_path / "run", protocol, cache)
    history = read_history(run.fold_folder("munet", 0))
    assert len(history) < 9
    assert not any(entry["kept"] for entry in history[-2:])


def test_a_training_that_diverges_says_what_to_do(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(optimiser=OptimiserSpec("sgd", 1e30), fit=FitSpec(epochs=3, batch=8))
    with pytest.raises(RuntimeError, match=r"diverged in epoch 1: lower optimiser\.learning_rate"):
        train(tmp_path / "run", protocol, cache)


def test_without_a_validation_part_the_training_loss_is_watched(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(split=SplitSpec("patient", test=0.2, validation=0.0), fit=FitSpec(epochs=1, batch=8))
    run = train(tmp_path / "run", protocol, cache)
    assert len(run.predictions("munet")) == 0
    assert len(predict_test(run, cache, "munet", Machine())) == len(run.split().test)


def test_half_precision_trains(tmp_path: Path, cache: Cache) -> None:
    run = train(tmp_path / "run", small_protocol(fit=FitSpec(epochs=1, batch=8, precision="bf16")), cache)
    assert all(value.dtype != torch.bfloat16 for value in weights(run).values())
    assert np.isfinite(read_history(run.fold_folder("munet", 0))[0]["loss"])


def test_a_kept_net_can_be_loaded_alone(tmp_path: Path, cache: Cache) -> None:
    run = train(tmp_path / "run", small_protocol(fit=FitSpec(epochs=1, batch=8)), cache)
    path = run.fold_folder("munet", 0) / "weights.pt"
    masks, labels, levels = load_net(path)(torch.rand(1, 3, 32, 32))
    assert masks.shape == (1, 6, 32, 32)
    assert labels.shape == (1, 6)
    assert levels == []
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no weights"):
        load_net(path)


def test_another_data_set_is_asked_only_when_it_fits(tmp_path: Path, cache: Cache) -> None:
    run = train(tmp_path / "run", small_protocol(fit=FitSpec(epochs=1, batch=8)), cache)
    outside = written_cache(tmp_path / "outside", Made(patients=3, slices=4, known_types=False, seed=5))
    predictions = predict_external(run, outside, "munet", Machine())
    assert len(predictions) == 12
    unknown = (outside.masks[predictions.row] == 6).any(axis=(1, 2))
    assert unknown.any()
    np.testing.assert_array_equal(predictions.drawn, ~unknown)
    check_external(run, cache, outside)
    wrong = {
        "is what the nets were trained on": cache,
        "run trainer prepare with --size 32 --geometry resize": written_cache(tmp_path / "large", Made(size=64)),
        "pictures and the nets were trained on HU in 3 windows": written_cache(tmp_path / "grey", Made(pictures=True)),
    }
    for sentence, other in wrong.items():
        with pytest.raises(ValueError, match=sentence):
            check_external(run, cache, other)


def test_a_raster_of_other_pixels_is_refused(tmp_path: Path) -> None:
    ours = written_cache(tmp_path / "ours", Made(slices=2, geometry="raster"))
    finer = written_cache(tmp_path / "finer", Made(slices=2, geometry="raster", pixel_mm=0.5, seed=2))
    protocol = small_protocol()
    protocol = replace(protocol, input=replace(protocol.input, geometry="raster"), fit=FitSpec(epochs=1, batch=8))
    run = train(tmp_path / "run", protocol, ours)
    with pytest.raises(ValueError, match=r"0.5 mm and the nets were trained on 1 mm: .* --pixel-mm 1$"):
        check_external(run, ours, finer)


def test_pictures_do_not_test_what_a_raster_taught(tmp_path: Path) -> None:
    ours = written_cache(tmp_path / "ours", Made(slices=2, geometry="raster"))
    protocol = small_protocol(nets=(SMALL_UNET,), loss=LossSpec(mask="dice"), fit=FitSpec(epochs=1, batch=8))
    protocol = replace(protocol, input=InputSpec(size=32, geometry="raster", windows=((40.0, 80.0),)))
    run = train(tmp_path / "run", protocol, ours)
    with pytest.raises(ValueError, match="as resize and the nets were trained on raster"):
        check_external(run, ours, written_cache(tmp_path / "grey", Made(slices=2, pictures=True)))


def test_smote_of_features_is_done_once(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(nets=(SMALL_MUNET,), fit=FitSpec(epochs=1, batch=8), balance=BalanceSpec("smote_feature"))
    run = train(tmp_path / "run", protocol, cache)
    before = weights(run)
    assert load_tensors(run.fold_folder("munet", 0) / "weights.pt")["refitted"]
    (run.fold_folder("munet", 0) / "predictions.npz").unlink()
    assert_same(weights(train(tmp_path / "run", protocol, cache)), before)
    assert "no picture is made" in run.record.remarks[0]


def test_a_grid_is_searched_once_and_its_best_trains_every_fold(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(
        split=SplitSpec("patient", folds=2),
        fit=FitSpec(epochs=1, batch=8, steps_per_epoch=1),
        grid={"optimiser.learning_rate": (1e-4, 1e-2)},
    )
    run = train(tmp_path / "run", protocol, cache)
    chosen = json.loads((run.folder / "munet" / "grid.json").read_text())
    assert [one["values"]["optimiser.learning_rate"] for one in chosen["tried"]] == [1e-4, 1e-2]
    rates = [read_history(run.fold_folder("munet", fold))[0]["rate"] for fold in (0, 1)]
    assert rates == [chosen["chosen"]["optimiser.learning_rate"]] * 2
    assert chosen["figure"] == "validation_loss"


def test_the_best_fold_is_that_of_the_weights_that_were_kept(tmp_path: Path, cache: Cache) -> None:
    protocol = small_protocol(split=SplitSpec("patient", folds=2), fit=FitSpec(epochs=1, batch=8, steps_per_epoch=1))
    run = train(tmp_path / "run", protocol, cache)
    for fold, losses in enumerate([(0.1, 0.9), (0.5, 0.4)]):
        write_history(run.fold_folder("munet", fold), [{"loss": 1.0, "validation_loss": loss} for loss in losses])
    assert best_fold(run, "munet") == 0
    last = replace(run.record, protocol=replace(run.protocol, fit=replace(run.protocol.fit, keep="last")))
    assert best_fold(replace(run, record=last), "munet") == 1
