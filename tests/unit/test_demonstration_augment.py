from dataclasses import replace

import numpy as np
import pytest

from trainer.demonstration.augment import augment
from trainer.demonstration.protocol import AugmentSpec

RUNS, SLICES = 3, 2


def head_like() -> tuple[np.ndarray, np.ndarray]:
    """A disc of tissue in air with a square of blood left of the middle, three runs of two slices with one truth."""
    rows, columns = np.mgrid[:64, :64]
    hu = np.where(np.hypot(rows - 32, columns - 32) < 24, 30, -1024).astype(np.int16)
    labels = np.zeros((64, 64), np.uint8)
    labels[28:36, 18:26] = 2
    hu[labels > 0] = 60
    return np.tile(hu, (RUNS, SLICES, 1, 1)), np.tile(labels, (RUNS, 1, 1))


def test_nothing_asked_for_changes_nothing() -> None:
    hu, labels = head_like()
    changed, truth = augment(hu, labels, AugmentSpec(), np.random.default_rng(1), 1.0)
    assert changed.dtype == np.float32
    np.testing.assert_array_equal(changed, hu)
    np.testing.assert_array_equal(truth, labels)


def test_flip_exchanges_left_and_right_of_image_and_mask_alike() -> None:
    hu, labels = head_like()
    changed, truth = augment(hu, labels, AugmentSpec(flip=1.0), np.random.default_rng(1), 1.0)
    np.testing.assert_array_equal(changed, hu[..., ::-1])
    np.testing.assert_array_equal(truth, labels[..., ::-1])


def test_mask_moves_with_the_blood() -> None:
    hu, labels = head_like()
    spec = AugmentSpec(affine=1.0, rotation_deg=25.0, scale=0.1, shift_mm=6.0, shear=0.05)
    changed, truth = augment(hu, labels, spec, np.random.default_rng(5), 1.0)
    for image, mask, before in zip(changed[:, 0], truth, labels, strict=True):
        assert not np.array_equal(mask, before)
        assert image[mask > 0].mean() == pytest.approx(60, abs=4)
        assert set(np.unique(mask)) <= {0, 2}


def test_slices_of_one_run_move_together_and_runs_apart() -> None:
    hu, labels = head_like()
    spec = AugmentSpec(affine=1.0, rotation_deg=25.0, shift_mm=6.0, hu_shift=4.0)
    changed, truth = augment(hu, labels, spec, np.random.default_rng(6), 1.0)
    for run in range(RUNS):
        np.testing.assert_array_equal(changed[run, 0], changed[run, 1])
    assert not np.array_equal(truth[0], truth[1])


def test_noise_differs_between_the_slices_of_a_run() -> None:
    hu, labels = head_like()
    changed, _ = augment(hu, labels, AugmentSpec(noise=1.0, noise_hu=4.0), np.random.default_rng(7), 1.0)
    assert not np.array_equal(changed[0, 0], changed[0, 1])


def test_a_slice_is_changed_alike_with_neighbours_and_without() -> None:
    """Else an ablation of the neighbours would compare nets that saw other slices as well."""
    hu, labels = head_like()
    three = np.concatenate([hu, hu[:, :1]], axis=1)
    spec = AugmentSpec(
        flip=0.5, affine=0.8, rotation_deg=25.0, hu_shift=4.0, blur=0.5, blur_mm=2.0, noise=1.0, noise_hu=4.0
    )
    beside, truth = augment(three, labels, spec, np.random.default_rng(8), 1.0)
    alone, same_truth = augment(hu[:, :1], labels, spec, np.random.default_rng(8), 1.0)
    np.testing.assert_array_equal(beside[:, 1], alone[:, 0])
    np.testing.assert_array_equal(truth, same_truth)


def test_a_slice_alone_is_its_own_neighbour_and_changed_as_among_others() -> None:
    hu, labels = head_like()
    three = np.concatenate([hu, hu[:, :1]], axis=1)
    three[:, 0] += 9
    spec = AugmentSpec(flip=0.5, affine=0.8, rotation_deg=25.0, hu_shift=4.0, noise=1.0, noise_hu=4.0)
    beside, truth = augment(three, labels, spec, np.random.default_rng(8), 1.0)
    alone, same_truth = augment(three, labels, replace(spec, alone=1.0), np.random.default_rng(8), 1.0)
    for index in range(3):
        np.testing.assert_array_equal(alone[:, index], beside[:, 1])
    np.testing.assert_array_equal(truth, same_truth)


def test_a_share_of_slices_is_alone() -> None:
    hu, labels = (np.repeat(part, 100, axis=0) for part in head_like())
    three = np.concatenate([hu, hu[:, :1]], axis=1)
    three[:, 0] += 9
    changed, _ = augment(three, labels, AugmentSpec(alone=0.3), np.random.default_rng(3), 1.0)
    alone = [np.array_equal(run[0], run[1]) for run in changed]
    assert np.mean(alone) == pytest.approx(0.3, abs=0.12)


def test_blur_softens_edges_and_leaves_the_mask_sharp() -> None:
    hu, labels = head_like()
    changed, truth = augment(hu, labels, AugmentSpec(blur=1.0, blur_mm=2.0), np.random.default_rng(8), 1.0)
    for image, before in zip(changed, hu, strict=True):
        assert np.abs(np.diff(image, axis=-1)).max() < 0.9 * np.abs(np.diff(before.astype(np.float32), axis=-1)).max()
        assert image[:, 40:44, 30:34] == pytest.approx(30.0, abs=0.1)
    np.testing.assert_array_equal(truth, labels)


def test_outside_of_a_moved_slice_is_air() -> None:
    hu, labels = head_like()
    spec = AugmentSpec(affine=1.0, shift_mm=10.0)
    changed, _ = augment(hu, labels, spec, np.random.default_rng(2), 1.0)
    assert (changed[..., [0, 0, -1, -1], [0, -1, 0, -1]] == -1024).all()


def test_another_scanner_shifts_tissue_but_keeps_hu_in_range() -> None:
    hu, labels = head_like()
    spec = AugmentSpec(hu_shift=5.0, hu_scale=0.05, noise=1.0, noise_hu=4.0, blur=1.0, blur_mm=1.0)
    changed, truth = augment(hu, labels, spec, np.random.default_rng(3), 1.0)
    assert changed.min() >= -1024.0
    assert not np.array_equal(changed[0], changed[1])
    tissue = [float(image[:, 40:50, 30:40].mean()) for image in changed]
    assert max(abs(value - 30) for value in tissue) < 20
    np.testing.assert_array_equal(truth, labels)


def test_same_generator_same_slices() -> None:
    hu, labels = head_like()
    spec = AugmentSpec(flip=0.5, affine=0.5, rotation_deg=9.0, noise=0.5, noise_hu=2.0)
    first, _ = augment(hu, labels, spec, np.random.default_rng(4), 1.0)
    again, _ = augment(hu, labels, spec, np.random.default_rng(4), 1.0)
    np.testing.assert_array_equal(first, again)
