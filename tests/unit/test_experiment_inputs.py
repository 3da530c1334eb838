from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.caches import BONE, Made, cache_in_memory
from trainer.experiment.augment import augment
from trainer.experiment.batches import Batch, MadeSlices, Slices, prepared
from trainer.experiment.inputs import brain_only, check_fits, input_channels, net_input
from trainer.experiment.protocol import AugmentSpec, InputSpec
from trainer.experiment.truth import slice_truth
from triage.inference.preprocess import PreprocessSpec, window_slices

WINDOWS = ((40.0, 80.0), (80.0, 200.0), (600.0, 2800.0))


def test_windows_are_those_of_the_daemon() -> None:
    cache = cache_in_memory()
    spec = InputSpec(size=32, windows=WINDOWS)
    seen = net_input(cache.pixels[:4], spec)
    served = window_slices(cache.pixels[:4].astype(np.float32), PreprocessSpec(size=32, windows=WINDOWS))
    np.testing.assert_array_equal(seen, served)
    assert seen.dtype == np.float32
    assert input_channels(spec, pictures=False) == seen.shape[1] == 3


def test_pictures_have_one_channel_of_grey() -> None:
    cache = cache_in_memory(Made(pictures=True))
    seen = net_input(cache.pixels[:4], InputSpec(size=32, windows=WINDOWS))
    assert seen.shape == (4, 1, 32, 32)
    np.testing.assert_allclose(seen[:, 0] * 255, cache.pixels[:4], atol=1e-4)
    assert input_channels(InputSpec(windows=WINDOWS), pictures=True) == 1


@pytest.mark.parametrize("pictures", [False, True])
def test_bone_and_everything_outside_it_goes(pictures: bool) -> None:
    cache = cache_in_memory(Made(pictures=pictures, size=64))
    image = np.array(cache.pixels[2])
    image[0, :] = 60
    kept = brain_only(image)
    low = 0 if pictures else -1024
    bone = image >= (250 if pictures else 200)
    assert bone.sum() > 100
    assert (kept[bone] == low).all()
    assert (kept[0] == low).all()
    inside = cache.masks[2] > 0
    assert inside.any()
    np.testing.assert_array_equal(kept[inside], image[inside])
    assert kept[32, 32] == image[32, 32]
    assert kept.dtype == image.dtype


def test_an_open_skull_loses_its_bone_alone() -> None:
    image = np.full((64, 64), 35, np.int16)
    image[10:14, :40] = int(BONE)
    kept = brain_only(image)
    assert (kept[10:14, :40] == -1024).all()
    assert (np.delete(kept, range(10, 14), axis=0) == 35).all()


def test_clahe_raises_local_contrast_of_the_first_channel_alone() -> None:
    cache = cache_in_memory(Made(size=64))
    plain = net_input(cache.pixels[:2], InputSpec(size=64, windows=WINDOWS))
    clearer = net_input(cache.pixels[:2], InputSpec(size=64, windows=WINDOWS, clahe=True))
    brain = (slice(0, 1), slice(24, 40), slice(24, 40))
    assert clearer[:, 0][brain].std() > 1.1 * plain[:, 0][brain].std()
    np.testing.assert_array_equal(clearer[:, 1:], plain[:, 1:])
    assert 0.0 <= clearer.min() <= clearer.max() <= 1.0


def test_a_cache_of_another_input_is_refused_with_what_to_do() -> None:
    cache = cache_in_memory()
    check_fits(InputSpec(size=32), cache)
    with pytest.raises(ValueError, match="--size 64 --geometry resize"):
        check_fits(InputSpec(size=64), cache)
    with pytest.raises(ValueError, match="--geometry raster"):
        check_fits(InputSpec(size=32, geometry="raster"), cache)


def test_pictures_say_no_mm_and_fit_a_raster_shrunk_whole() -> None:
    check_fits(InputSpec(size=32, geometry="raster"), cache_in_memory(Made(pictures=True)))
    with pytest.raises(ValueError, match="--size 64 --geometry resize"):
        check_fits(InputSpec(size=64, geometry="raster"), cache_in_memory(Made(pictures=True)))


def test_made_slices_stand_behind_those_of_the_cache() -> None:
    cache = cache_in_memory()
    made = MadeSlices(
        np.full((1, 32, 32), 40, np.int16), np.full((1, 32, 32), 3, np.uint8), np.array([[1, 0, 0, 1, 0, 0]], np.int8)
    )
    slices = Slices(cache, slice_truth(cache), InputSpec(size=32), made=made)
    batch = slices.batch(np.array([48, 2]))
    assert len(batch) == 2
    assert (batch.mask[0] == 3).all()
    np.testing.assert_array_equal(batch.mask[1], cache.masks[2])
    np.testing.assert_array_equal(batch.labels, [[1, 0, 0, 1, 0, 0], cache.table["labels"][2]])
    assert batch.drawn.all()


def test_masks_that_nobody_wants_are_not_read() -> None:
    cache = cache_in_memory()
    batch = Slices(cache, slice_truth(cache), InputSpec(size=32), masks_wanted=False).batch(np.array([2, 3]))
    assert batch.mask.shape == (2, 0, 0)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_come_in_order_whoever_prepares_them(threads: int) -> None:
    cache = cache_in_memory()
    slices = Slices(cache, slice_truth(cache), InputSpec(size=32))

    def task(row: int) -> Callable[[], Batch]:
        return lambda: slices.batch(np.array([row]))

    batches = list(prepared((task(row) for row in range(20)), threads))
    np.testing.assert_array_equal(np.concatenate([b.labels for b in batches]), cache.table["labels"][:20])


def test_what_goes_wrong_in_a_thread_is_seen() -> None:
    def fail() -> Batch:
        raise ValueError("this slice cannot be read")

    with pytest.raises(ValueError, match="cannot be read"):
        list(prepared([fail], 1))


def changed(spec: AugmentSpec, image: torch.Tensor, mask: torch.Tensor, seed: int = 1) -> tuple[torch.Tensor, ...]:
    return augment(image, mask, spec, torch.Generator().manual_seed(seed))


def test_without_augmentation_nothing_changes() -> None:
    image, mask = torch.rand(2, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.uint8)
    same, untouched = changed(AugmentSpec(), image, mask)
    assert same is image
    assert untouched is mask


@pytest.mark.parametrize(
    "spec",
    [
        AugmentSpec(flip=True),
        AugmentSpec(rotation_deg=20),
        AugmentSpec(shift=0.2),
        AugmentSpec(shear_deg=15),
        AugmentSpec(zoom=0.2),
        AugmentSpec(flip=True, rotation_deg=10, shift=0.1, shear_deg=5, zoom=0.1),
    ],
)
def test_masks_move_with_their_images(spec: AugmentSpec) -> None:
    mask = torch.zeros(8, 64, 64, dtype=torch.uint8)
    mask[:, 20:34, 10:30] = 4
    image = (mask > 0).float()[:, None]
    moved, truth = changed(spec, image, mask)
    assert not torch.equal(truth, mask)
    assert set(truth.unique().tolist()) == {0, 4}
    agreement = ((moved[:, 0] > 0.5) == (truth > 0)).float().mean()
    assert float(agreement) > 0.99
    assert torch.equal(changed(spec, image, mask)[0], moved)
    assert not torch.equal(changed(spec, image, mask, seed=2)[0], moved)


def test_a_shift_is_a_share_of_the_side() -> None:
    image = torch.zeros(64, 1, 32, 32)
    image[:, :, 16, 16] = 1.0
    moved, _ = changed(AugmentSpec(shift=0.25), image, torch.zeros(0))
    rows = moved.sum(dim=3)[:, 0].argmax(dim=1) - 16
    assert int(rows.abs().max()) <= 8
    assert int(rows.abs().max()) >= 6


def test_noise_and_brightness_stay_within_the_range_of_the_input() -> None:
    image = torch.full((16, 1, 16, 16), 0.5)
    noisy, _ = changed(AugmentSpec(noise=0.2), image, torch.zeros(0))
    bright, _ = changed(AugmentSpec(brightness=0.3), image, torch.zeros(0))
    assert 0.02 < float(noisy.std()) < 0.2
    offsets = bright.mean(dim=(1, 2, 3)) - 0.5
    assert 0.1 < float(offsets.abs().max()) <= 0.3
    assert float(changed(AugmentSpec(brightness=0.9), image, torch.zeros(0))[0].max()) <= 1.0
