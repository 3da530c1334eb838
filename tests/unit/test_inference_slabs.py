"""Grouping of thin slices by where they really lie."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.onnx_models import volume_of
from triage.domain.volume import Volume
from triage.inference.preprocess import PreprocessSpec, sample_slices
from triage.inference.slabs import group_slices, sample_slabs

SPEC = PreprocessSpec(size=32)


def stack_of(positions: list[float], thickness: float | list[float]) -> Volume:
    return volume_of(np.zeros((len(positions), 4, 4), np.float32), positions, thickness)


def runs(positions: list[float], thickness: float | list[float]) -> list[tuple[int, int]]:
    return [(slab.start, slab.stop) for slab in group_slices(stack_of(positions, thickness).stack, SPEC)]


@pytest.mark.parametrize(
    ("step", "thickness", "per_slab"),
    [(5.0, 5.0, 1), (3.0, 3.0, 1), (2.5, 2.5, 2), (1.25, 1.25, 4), (1.0, 1.0, 5), (0.625, 0.625, 8), (0.5, 1.0, 9)],
)
def test_slabs_are_about_five_mm(step: float, thickness: float, per_slab: int) -> None:
    found = runs([i * step for i in range(per_slab * 6)], thickness)
    assert found == [(i * per_slab, (i + 1) * per_slab) for i in range(6)]


def test_thick_slices_that_overlap_stay_alone() -> None:
    assert runs([float(i) for i in range(10)], 5.0) == [(i, i + 1) for i in range(10)]


def test_thin_slices_far_apart_stay_alone() -> None:
    assert runs([10.0 * i for i in range(6)], 1.0) == [(i, i + 1) for i in range(6)]


def test_a_change_of_thickness_is_followed() -> None:
    """The real tilted head: 4 mm slices, an overlapping step of 1.14 mm, then 7 mm slices."""
    positions = [4.22 * i for i in range(14)]
    positions += [positions[-1] + 1.14 + 7.38 * i for i in range(14)]
    assert runs(positions, [4.0] * 14 + [7.0] * 14) == [(i, i + 1) for i in range(28)]


def test_thin_slices_are_not_joined_over_a_hole() -> None:
    positions = [0.0, 1.0, 2.0, 3.0, 4.0, 14.0, 15.0, 16.0, 17.0, 18.0]
    assert runs(positions, 1.0) == [(0, 5), (5, 10)]


def test_a_short_rest_joins_its_neighbour() -> None:
    assert runs([float(i) for i in range(11)], 1.0) == [(0, 5), (5, 11)]
    assert runs([float(i) for i in range(13)], 1.0) == [(0, 5), (5, 10), (10, 13)]


def test_a_short_rest_beside_a_hole_stays() -> None:
    assert runs([0.0, 1.0, 2.0, 3.0, 4.0, 30.0], 1.0) == [(0, 5), (5, 6)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 12.0), st.floats(0.3, 10.0)), min_size=1, max_size=60))
def test_every_slice_is_in_exactly_one_slab(steps: list[tuple[float, float]]) -> None:
    positions = list(np.cumsum([s for s, _ in steps]))
    stack = stack_of(positions, [t for _, t in steps]).stack
    slabs = group_slices(stack, SPEC)
    assert slabs[0].start == 0
    assert slabs[-1].stop == len(positions)
    assert all(a.stop == b.start for a, b in pairwise(slabs))
    assert sum(slab.extent_mm for slab in slabs) == pytest.approx(float(stack.extents_mm().sum()))
    for slab in slabs:
        assert slab.start <= slab.middle < slab.stop
        inner = np.diff(stack.distances_mm[slab.start : slab.stop])
        assert (inner < SPEC.thin_below_mm).all()


def test_a_slab_is_the_mean_of_its_slices() -> None:
    hu = np.stack([np.full((32, 32), value, np.float32) for value in (10, 20, 30, 40, 50)])
    volume = volume_of(hu, [0.0, 1.0, 2.0, 3.0, 4.0], 1.0, (1.0, 1.0))
    slabs = group_slices(volume.stack, SPEC)
    assert len(slabs) == 1
    assert sample_slabs(volume, slabs, SPEC)[0] == pytest.approx(30.0, abs=1e-3)


def test_slices_weigh_by_their_extent() -> None:
    hu = np.stack([np.full((32, 32), value, np.float32) for value in (0, 60, 60)])
    volume = volume_of(hu, [0.0, 2.0, 3.0], [3.0, 1.0, 1.0], (1.0, 1.0))
    slabs = group_slices(volume.stack, SPEC)
    extents = volume.stack.extents_mm()
    assert [(s.start, s.stop) for s in slabs] == [(0, 3)]
    expected = float((np.array([0, 60, 60]) * extents).sum() / extents.sum())
    assert sample_slabs(volume, slabs, SPEC)[0] == pytest.approx(expected, abs=1e-3)


def test_a_single_slice_is_seen_as_training_saw_it() -> None:
    hu = np.random.default_rng(0).normal(30, 20, (3, 64, 64)).astype(np.float32)
    volume = volume_of(hu)
    sampled = sample_slabs(volume, group_slices(volume.stack, SPEC), SPEC)
    assert np.array_equal(sampled, sample_slices(hu, volume.pixel_spacing_mm, SPEC))
