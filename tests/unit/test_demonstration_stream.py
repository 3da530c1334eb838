from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.demonstration.protocol import DataPlan
from trainer.demonstration.stream import block_orders, blocks, scan_input
from triage.domain.geometry import stack_frames
from triage.domain.study import FrameGeometry
from triage.domain.volume import SliceSource, Volume
from triage.inference.beam_hardening import evened
from triage.inference.preprocess import PreprocessSpec, net_input, window_slices
from triage.inference.slabs import group_slices, sample_slabs

SMALL = PreprocessSpec(size=64, pixel_mm=4.0)
PLAN = DataPlan(blocks=2, template_stacks=0, procedural_stacks=3, slices=4, kept=2)


def test_orders_split_both_kinds_of_head_and_never_share_a_seed() -> None:
    folder, plan = Path("template"), replace(PLAN, template_stacks=10, procedural_stacks=3)
    tasks = block_orders(plan, 9, 0, folder, SMALL)
    assert [(t.count, t.anatomy) for t in tasks] == [(4, folder), (4, folder), (2, folder), (3, None)]
    alone = block_orders(replace(plan, template_first=1), 9, 0, folder, SMALL)
    assert [(t.count, t.anatomy) for t in alone] == [(4, folder), (4, folder), (2, folder), (3, folder)]
    assert block_orders(replace(plan, template_first=1), 9, 1, folder, SMALL)[-1].anatomy is None
    others = [block_orders(plan, 9, 1, folder, SMALL), block_orders(plan, 10, 0, folder, SMALL)]
    seeds = [t.seed for made in (tasks, *others) for t in made]
    assert len(set(seeds)) == len(seeds)


def test_blocks_are_the_same_for_the_same_seed_however_many_workers() -> None:
    here = list(blocks(PLAN, 3, None, SMALL, 0))
    there = list(blocks(PLAN, 3, None, SMALL, 1))
    assert len(here) == len(there) == 2
    for ours, theirs in zip(here, there, strict=True):
        assert ours.hu.shape == (3, 4, 64, 64)
        np.testing.assert_array_equal(ours.hu, theirs.hu)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert not np.array_equal(here[0].hu, here[1].hu)


def test_a_stream_that_goes_on_gives_the_blocks_that_were_missing() -> None:
    whole = list(blocks(PLAN, 3, None, SMALL, 0))
    rest = list(blocks(PLAN, 3, None, SMALL, 0, first=1))
    assert len(rest) == 1
    np.testing.assert_array_equal(rest[0].hu, whole[1].hu)


def test_training_and_serving_see_the_same_slices_bit_for_bit() -> None:
    """The trainer windows made slices directly; the daemon samples a volume first. Same HU, same tensor."""
    made = next(blocks(PLAN, 3, None, SMALL, 0)).hu[0]
    frames = [FrameGeometry((0.0, 0.0, 5.0 * z), (1, 0, 0, 0, 1, 0), 5.0) for z in range(len(made))]
    volume = Volume(
        hu=made.astype(np.float32),
        stack=stack_frames(frames),
        positions_mm=np.array([f.position_mm for f in frames]),
        orientation=np.array(frames[0].orientation),
        pixel_spacing_mm=(4.0, 4.0),
        frame_of_reference_uid="2.25.1",
        sources=tuple(SliceSource(f"2.25.{z + 1}", 1) for z in range(len(made))),
    )
    served = window_slices(sample_slabs(volume, group_slices(volume.stack, SMALL), SMALL), SMALL)
    trained = scan_input(made, "slice", SMALL)
    assert trained.dtype == served.dtype == np.float32
    assert trained.tobytes() == served.tobytes()


def test_stacks_are_evened_where_the_bundle_will_be() -> None:
    plain = next(blocks(PLAN, 3, None, SMALL, 0))
    even = next(blocks(PLAN, 3, None, replace(SMALL, even_brain=True), 0))
    expected = np.stack([np.rint(evened(stack, SMALL.pixel_mm)) for stack in plain.hu])
    np.testing.assert_array_equal(even.hu, expected)
    np.testing.assert_array_equal(even.labels, plain.labels)
    assert even.hu.dtype == plain.hu.dtype == np.int16
    assert (plain.hu - even.hu).max() >= 10, "one of the stacks shows a vertex or a base"


def test_net_input_has_one_channel_per_window_between_zero_and_one() -> None:
    made = next(blocks(PLAN, 3, None, SMALL, 0)).hu[0]
    tensor = net_input(made[:, None], replace(SMALL, windows=((40.0, 80.0), (600.0, 2800.0))))
    assert tensor.shape == (4, 2, 64, 64)
    assert tensor.min() == 0.0
    assert tensor.max() <= 1.0
