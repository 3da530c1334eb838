"""Training stacks: reproducible, of neighbouring slices, many with blood, from either anatomy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.phantom.exam import ScanGeometry, study
from trainer.phantom.stacks import LOWEST_MM, StackBatch, stacks
from triage.domain.finding import SUBTYPES, Subtype, WorklistStatus


def _small(count: int, seed: int, **options: object) -> StackBatch:
    return stacks(count, seed, slices=6, size=96, pixel_mm=2.6, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def batch() -> StackBatch:
    return _small(24, 5, larger=0.9)


def test_arrays_have_the_promised_form(batch: StackBatch) -> None:
    assert (batch.hu.dtype, batch.labels.dtype) == (np.int16, np.uint8)
    assert batch.hu.shape == batch.labels.shape == (24, 6, 96, 96)
    assert batch.hu.min() >= -1024
    assert batch.hu.max() <= 3000
    assert batch.labels.max() <= len(SUBTYPES)


def test_about_half_of_the_stacks_show_blood(batch: StackBatch) -> None:
    assert 0.35 < (batch.labels > 0).any(axis=(1, 2, 3)).mean() < 0.8


def test_slices_of_a_stack_are_neighbours_and_differ(batch: StackBatch) -> None:
    heads = np.clip(batch.hu.astype(np.float32), -100, 300)
    beside = np.abs(np.diff(heads, axis=1)).mean(axis=(1, 2, 3))
    apart = np.abs(heads[:, -1] - heads[:, 0]).mean(axis=(1, 2))
    assert (beside > 0.5).all()
    assert np.median(beside / apart) < 0.6


def test_the_same_seed_makes_the_same_stacks_and_another_seed_others() -> None:
    first, again, other = _small(2, 7), _small(2, 7), _small(2, 8)
    assert np.array_equal(first.hu, again.hu)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.hu, other.hu)


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    assert np.array_equal(_small(3, 7).hu[:2], _small(2, 7).hu)


def test_stacks_reach_as_far_down_as_exams() -> None:
    small = ScanGeometry(matrix=32)
    exams = [study(seed, status=WorklistStatus.NOT_SUSPECTED, geometry=small) for seed in range(40, 50)]
    heights = np.array([plane.origin_mm[2] for exam in exams for plane in exam.planes])
    assert heights.min() < -70
    assert (heights < LOWEST_MM).mean() < 0.01


def test_negatives_can_be_forced() -> None:
    assert not _small(4, 9, force=()).labels.any()


def test_a_subtype_can_be_forced() -> None:
    labels = np.unique(_small(6, 9, force=(Subtype.EDH,), larger=1.0).labels)
    assert labels.tolist() == [0, 1]


def test_blood_is_denser_than_the_brain_around_it(batch: StackBatch) -> None:
    blood = batch.hu[batch.labels > 0]
    assert 38 < np.median(blood) < 75


def test_the_template_makes_stacks_too(shared_data: Path) -> None:
    batch = _small(2, 3, anatomy=shared_data / "ct_template")
    assert (batch.hu > 300).any(axis=(2, 3)).mean() > 0.9


def test_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        stacks(1, 1, size=150)
