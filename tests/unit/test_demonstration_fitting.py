import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.demonstration.fitting import Fitted, Fitting, Pool
from trainer.demonstration.protocol import AugmentSpec, DataPlan, FitSpec, Protocol, load_protocol
from trainer.demonstration.stream import blocks
from trainer.phantom.stacks import StackBatch
from triage.domain.finding import SUBTYPES, Subtype
from triage.inference.preprocess import PreprocessSpec

RASTER = PreprocessSpec(size=64, pixel_mm=4.0)
DATA = DataPlan(blocks=1, template_stacks=0, procedural_stacks=12, slices=4, kept=2)
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
    MUNET,
    architecture="slice_classifier",
    reads="neighbours",
    options={"widths": [8, 8, 16, 16], "pyramid": 8, "strongest": 4},
)

DROPPING = replace(MUNET, options={**MUNET.options, "dropout": 0.3})


@pytest.fixture(scope="module")
def made() -> StackBatch:
    return next(blocks(DATA, 5, None, RASTER, 0))


def plan_of(spec: FitSpec, **changes: object) -> Protocol:
    nets = {"munet": MUNET, "slice_classifier": CLASSIFIER, spec.architecture: spec}
    return replace(
        load_protocol("demo"),
        data=DATA,
        seed=11,
        augment=AugmentSpec(flip=0.5),
        preprocessing=RASTER,
        **nets,
        **{"precision": "fp32", "augment_late": None, **changes},  # type: ignore[arg-type]
    )


def fitting(made: StackBatch, spec: FitSpec, **changes: object) -> tuple[Fitting, Pool]:
    pool = Pool(2)
    pool.add(made)
    return Fitting(spec, plan_of(spec, **changes)), pool


def trained(made: StackBatch, spec: FitSpec, lines: list[str] | None = None, **changes: object) -> Fitted:
    one, pool = fitting(made, spec, **changes)
    one.learn(pool, spec.steps, ([] if lines is None else lines).append)
    return one.fitted()


def same(first: torch.nn.Module, second: torch.nn.Module) -> None:
    for ours, theirs in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("spec", [MUNET, CLASSIFIER], ids=lambda s: s.architecture)
def test_forty_small_steps_lower_the_loss_by_a_quarter(made: StackBatch, spec: FitSpec) -> None:
    lines: list[str] = []
    fitted = trained(made, spec, lines)
    assert len(fitted.losses) == 40
    assert fitted.losses[-8:].mean() < 0.75 * fitted.losses[:4].mean()
    assert lines[-1].startswith(f"{spec.architecture}: step 40 of 40, loss ")


def test_the_same_seed_gives_the_same_net(made: StackBatch) -> None:
    short = replace(CLASSIFIER, steps=3)
    first, again = trained(made, short), trained(made, short)
    np.testing.assert_array_equal(first.losses, again.losses)
    same(first.net, again.net)


def test_later_steps_see_wider_changes(made: StackBatch) -> None:
    short, wide = replace(CLASSIFIER, steps=4), AugmentSpec(flip=0.5, hu_shift=40.0)
    plain = trained(made, short).losses
    late = trained(made, short, augment_late=wide, late_from=0.5).losses
    never = trained(made, short, augment_late=wide, late_from=1.0).losses
    np.testing.assert_array_equal(never, plain)
    np.testing.assert_array_equal(late[:2], plain[:2])
    assert late[2] != plain[2]


def test_half_the_precision_learns_as_well(made: StackBatch) -> None:
    losses = trained(made, MUNET, precision="bf16").losses
    assert losses[-8:].mean() < 0.8 * losses[:4].mean()


@pytest.mark.parametrize("spec", [DROPPING, CLASSIFIER], ids=lambda s: s.architecture)
def test_a_kept_training_goes_on_as_if_it_had_never_stopped(made: StackBatch, spec: FitSpec) -> None:
    unbroken, pool = fitting(made, spec)
    unbroken.learn(pool, 3, lambda _: None)
    resumed, _ = fitting(made, spec)
    resumed.resume(copy.deepcopy(unbroken.state()))
    same(unbroken.fitted().net, resumed.fitted().net)
    torch.rand(5)  # what another net draws meanwhile
    resumed.learn(pool, 2, lambda _: None)
    unbroken.learn(pool, 2, lambda _: None)
    np.testing.assert_array_equal(resumed.fitted().losses, unbroken.fitted().losses)
    same(unbroken.fitted().net, resumed.fitted().net)


def test_crops_are_taken_about_the_centre_until_the_last_steps(made: StackBatch) -> None:
    """What lies around the crop is first seen by the second step."""
    cropped = replace(CLASSIFIER, steps=2, crop=(32, 32), whole_from=0.5)
    around = np.full_like(made.hu, 40)
    around[..., 16:48, 16:48] = made.hu[..., 16:48, 16:48]
    first = trained(made, cropped).losses
    other = trained(StackBatch(around, made.labels), cropped).losses
    assert other[0] == first[0]
    assert other[1] != first[1]


def test_a_diverging_training_says_what_to_do(made: StackBatch) -> None:
    wild = replace(CLASSIFIER, steps=30, learning_rate=1e30)
    with pytest.raises(RuntimeError, match=r"diverged at step .*lower its learning rate"):
        trained(made, wild)


def test_half_of_the_single_slices_show_blood_and_the_oldest_block_leaves(made: StackBatch) -> None:
    pool, rng = Pool(2), np.random.default_rng(1)
    empty = StackBatch(np.zeros_like(made.hu), np.zeros_like(made.labels))
    pool.add(empty)
    pool.add(made)
    pool.add(made)
    hu, labels = pool.draw(rng, 400, "slice")
    assert hu.shape == (400, 1, 64, 64)
    assert labels.shape == (400, 64, 64)
    assert 0.45 < labels.any(axis=(1, 2)).mean() < 0.75
    assert hu.any(axis=(1, 2, 3)).all()


def test_a_rare_subtype_is_drawn_more_often_than_it_bleeds_where_this_is_asked_for() -> None:
    pool, labels = Pool(1), np.zeros((20, 4, 8, 8), np.uint8)
    labels[:, :, 2:4, 2:4] = SUBTYPES.index(Subtype.IPH) + 1
    labels[7, 1:3, 5:7, 5:7] = SUBTYPES.index(Subtype.EDH) + 1
    hu = np.broadcast_to(np.arange(80, dtype=np.int16).reshape(20, 4, 1, 1), labels.shape)
    pool.add(StackBatch(hu, labels))
    shown = pool.draw(np.random.default_rng(1), 400, "slice", balanced=True)[1]
    plain = pool.draw(np.random.default_rng(1), 400, "slice")[1]
    epidural, seldom = ((one == SUBTYPES.index(Subtype.EDH) + 1).any(axis=(1, 2)).mean() for one in (shown, plain))
    assert seldom < 0.06 < epidural < 0.2


def test_a_slice_is_drawn_between_its_neighbours_and_at_the_ends_of_its_stack_beside_itself() -> None:
    pool, rng = Pool(1), np.random.default_rng(1)
    numbered = np.broadcast_to(np.arange(80, dtype=np.int16).reshape(20, 4, 1, 1), (20, 4, 8, 8))
    pool.add(StackBatch(numbered, numbered.astype(np.uint8)))
    hu, labels = pool.draw(rng, 200, "neighbours")
    below, own, above = hu[:, :, 0, 0].T
    np.testing.assert_array_equal(own, labels[:, 0, 0])
    np.testing.assert_array_equal(below, np.where(own % 4 == 0, own, own - 1))
    np.testing.assert_array_equal(above, np.where(own % 4 == 3, own, own + 1))
    assert set(own % 4) == {0, 1, 2, 3}


def test_blocks_without_blood_can_be_learned_from(made: StackBatch) -> None:
    pool = Pool(1)
    pool.add(StackBatch(made.hu, np.zeros_like(made.labels)))
    assert not pool.draw(np.random.default_rng(1), 20, "neighbours")[1].any()
