from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.data import make_slices, orders
from trainer.phantom.batches import SliceBatch
from trainer.protocol import AugmentSpec, DataPlan, FitSpec
from trainer.train import Fitted, fit
from triage.inference.preprocess import PreprocessSpec

RASTER = PreprocessSpec(size=64, pixel_mm=4.0)
MUNET = FitSpec(
    "munet",
    steps=40,
    batch=8,
    learning_rate=4e-3,
    weight_decay=1e-4,
    warmup=0.1,
    crop=(64, 64),
    whole_from=0.8,
    options={"widths": [8, 8, 16, 16, 32], "hidden": 16, "dropout": 0.0},
)
CLASSIFIER = replace(
    MUNET, architecture="slice_classifier", options={"widths": [8, 8, 16, 16], "pyramid": 8, "strongest": 4}
)


@pytest.fixture(scope="module")
def made() -> SliceBatch:
    return make_slices(orders(DataPlan(0, 48, 48), 5, None, RASTER), 0, lambda _: None)


def trained(made: SliceBatch, spec: FitSpec, lines: list[str] | None = None) -> Fitted:
    lines = [] if lines is None else lines
    return fit(made, spec, AugmentSpec(flip=0.5), RASTER, 11, lines.append)


@pytest.mark.parametrize("spec", [MUNET, CLASSIFIER], ids=lambda s: s.architecture)
def test_forty_small_steps_lower_the_loss_by_a_third(made: SliceBatch, spec: FitSpec) -> None:
    lines: list[str] = []
    fitted = trained(made, spec, lines)
    assert len(fitted.losses) == 40
    assert fitted.losses[-8:].mean() < 0.7 * fitted.losses[:4].mean()
    assert lines[-1].startswith(f"{spec.architecture}: step 40 of 40, loss ")


def test_the_same_seed_gives_the_same_net(made: SliceBatch) -> None:
    short = replace(CLASSIFIER, steps=3)
    first, again = trained(made, short), trained(made, short)
    np.testing.assert_array_equal(first.losses, again.losses)
    for ours, theirs in zip(first.net.state_dict().values(), again.net.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_crops_are_taken_about_the_centre_until_the_last_steps(made: SliceBatch) -> None:
    cropped = replace(CLASSIFIER, steps=2, crop=(32, 32), whole_from=0.5)
    assert np.isfinite(trained(made, cropped).losses).all()


def test_a_diverging_training_says_what_to_do(made: SliceBatch) -> None:
    wild = replace(CLASSIFIER, steps=30, learning_rate=1e30)
    with pytest.raises(RuntimeError, match=r"diverged at step .*lower its learning rate"):
        trained(made, wild)
