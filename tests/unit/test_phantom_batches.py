"""Training slices: reproducible, about half with blood, from either anatomy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainer.phantom.batches import SliceBatch, slices
from triage.domain.finding import SUBTYPES, Subtype


def _small(count: int, seed: int, **options: object) -> SliceBatch:
    return slices(count, seed, size=96, pixel_mm=2.6, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def batch() -> SliceBatch:
    return _small(88, 5)


def test_arrays_have_the_promised_form(batch: SliceBatch) -> None:
    assert (batch.hu.dtype, batch.labels.dtype, batch.head.dtype) == (np.int16, np.uint8, np.int32)
    assert batch.hu.shape == batch.labels.shape == (88, 96, 96)
    assert batch.hu.min() >= -1024
    assert batch.hu.max() <= 3000
    assert batch.labels.max() <= len(SUBTYPES)


def test_heads_are_numbered_so_that_a_split_can_keep_them_together(batch: SliceBatch) -> None:
    assert batch.head[:9].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert len(np.unique(batch.head)) == 22


def test_about_half_of_the_slices_show_blood_of_every_subtype(batch: SliceBatch) -> None:
    assert 0.25 < (batch.labels > 0).any(axis=(1, 2)).mean() < 0.68
    assert set(np.unique(batch.labels)) == {0, 1, 2, 3, 4, 5}


def test_the_same_seed_makes_the_same_slices_and_another_seed_others() -> None:
    first, again, other = _small(5, 7), _small(5, 7), _small(5, 8)
    assert np.array_equal(first.hu, again.hu)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.hu, other.hu)


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    assert np.array_equal(_small(10, 7).hu[:5], _small(5, 7).hu)


def test_negatives_can_be_forced() -> None:
    assert not _small(12, 9, force=()).labels.any()


def test_a_subtype_can_be_forced() -> None:
    labels = np.unique(_small(16, 9, force=(Subtype.EDH,)).labels)
    assert labels.tolist() == [0, 1]


def test_blood_is_denser_than_the_brain_around_it(batch: SliceBatch) -> None:
    blood = batch.hu[batch.labels > 0]
    assert 38 < np.median(blood) < 75


def test_the_template_makes_slices_too(shared_data: Path) -> None:
    batch = _small(8, 3, anatomy=shared_data / "ct_template")
    assert (batch.hu > 300).any(axis=(1, 2)).all()


def test_an_odd_size_is_refused() -> None:
    with pytest.raises(ValueError, match="divide by four"):
        slices(1, 1, size=150)
