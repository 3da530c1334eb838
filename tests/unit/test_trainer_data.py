from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.data import make_slices, net_input, orders
from trainer.protocol import DataPlan
from triage.domain.geometry import stack_frames
from triage.domain.study import FrameGeometry
from triage.domain.volume import SliceSource, Volume
from triage.inference.preprocess import PreprocessSpec, window_slices
from triage.inference.slabs import group_slices, sample_slabs

SMALL = PreprocessSpec(size=64, pixel_mm=4.0)


def heads(procedural: int, seed: int = 3) -> tuple:
    lines: list[str] = []
    batch = make_slices(orders(DataPlan(0, procedural, 5), seed, None, SMALL), 0, lines.append)
    return batch, lines


def test_orders_split_both_kinds_of_head_and_never_share_a_seed() -> None:
    folder = Path("template")
    tasks = orders(DataPlan(120, 30, 50), 9, folder, SMALL)
    assert [(t.count, t.anatomy) for t in tasks] == [(50, folder), (50, folder), (20, folder), (30, None)]
    assert len({t.seed for t in tasks}) == len(tasks)
    assert not {t.seed for t in tasks} & {t.seed for t in orders(DataPlan(120, 30, 50), 10, folder, SMALL)}


def test_slices_are_the_same_for_the_same_seed_and_heads_are_numbered_through() -> None:
    batch, lines = heads(12)
    again, _ = heads(12)
    np.testing.assert_array_equal(batch.hu, again.hu)
    np.testing.assert_array_equal(batch.labels, again.labels)
    assert batch.hu.shape == (12, 64, 64)
    assert (np.diff(batch.head) >= 0).all()
    assert len(np.unique(batch.head)) > len(np.unique(batch.head[:5]))
    assert lines[-1] == "made 12 of 12 slices"


def test_training_and_serving_see_the_same_slices_bit_for_bit() -> None:
    """The trainer windows made slices directly; the daemon samples a volume first. Same HU, same tensor."""
    batch, _ = heads(6)
    frames = [FrameGeometry((0.0, 0.0, 5.0 * z), (1, 0, 0, 0, 1, 0), 5.0) for z in range(6)]
    volume = Volume(
        hu=batch.hu.astype(np.float32),
        stack=stack_frames(frames),
        positions_mm=np.array([f.position_mm for f in frames]),
        orientation=np.array(frames[0].orientation),
        pixel_spacing_mm=(4.0, 4.0),
        frame_of_reference_uid="2.25.1",
        sources=tuple(SliceSource(f"2.25.{z + 1}", 1) for z in range(6)),
    )
    served = window_slices(sample_slabs(volume, group_slices(volume.stack, SMALL), SMALL), SMALL)
    trained = net_input(batch.hu, SMALL)
    assert trained.dtype == served.dtype == np.float32
    assert trained.tobytes() == served.tobytes()


def test_net_input_has_one_channel_per_window_between_zero_and_one() -> None:
    batch, _ = heads(4)
    tensor = net_input(batch.hu, replace(SMALL, windows=((40.0, 80.0), (600.0, 2800.0))))
    assert tensor.shape == (4, 2, 64, 64)
    assert tensor.min() == 0.0
    assert tensor.max() <= 1.0
