"""What of a trained net the daemon can serve, and the sentences about what it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.caches import PICTURE_WINDOW, Made, cache_in_memory
from tests.exported import WINDOWS, protocol_of
from trainer.bundles.serving import Serving, serving_of
from trainer.datasets.cache import Cache
from trainer.experiment.protocol import ExperimentProtocol, InputSpec, LossSpec
from triage.inference.preprocess import PreprocessSpec

MADE = Made(slices=3)


def serving(protocol: ExperimentProtocol, cache: Cache | None = None) -> Serving:
    return serving_of(protocol, protocol.nets[0].name, cache or cache_in_memory(MADE))


def seen(**changes: object) -> ExperimentProtocol:
    return protocol_of("munet", input=replace(InputSpec(size=32, windows=WINDOWS), **changes))  # type: ignore[arg-type]


def test_the_windows_of_the_protocol_are_those_of_the_bundle() -> None:
    found = serving(protocol_of("munet"))
    assert found.preprocessing.windows == WINDOWS
    assert (found.preprocessing.size, found.channels, found.task) == (32, 3, "both")
    assert found.names_subtypes


@pytest.mark.parametrize("channels", [1, 2])
def test_fewer_windows_are_filled_up_with_the_last(channels: int) -> None:
    found = serving(protocol_of("munet", "binary", channels))
    assert found.preprocessing.windows == (*WINDOWS[:channels], *[WINDOWS[channels - 1]] * (3 - channels))
    assert found.channels == channels
    assert not found.names_subtypes
    assert any(f"reads {channels} of the three windows" in remark for remark in found.remarks)


def test_pictures_are_served_in_the_window_that_they_were_made_with() -> None:
    made = cache_in_memory(replace(MADE, pictures=True))
    made.table["pixel_mm"] = 0.9
    found = serving(protocol_of("d_unet", "binary", 1), made)
    assert found.preprocessing.windows == (PICTURE_WINDOW,) * 3
    assert found.channels == 1
    assert any("pictures of 8 bits" in remark for remark in found.remarks)


def test_pictures_are_whole_images_also_where_the_protocol_asks_for_a_raster() -> None:
    made = cache_in_memory(replace(MADE, pictures=True, pixel_mm=3.0))
    made.table["pixel_mm"] = 0.9
    protocol = protocol_of("d_unet", "binary", 1, input=InputSpec(size=32, geometry="raster"))
    assert serving(protocol, made).preprocessing.pixel_mm == 0.9
    made.table["pixel_mm"] = np.nan
    with pytest.raises(ValueError, match="phantom does not say how large its pixels are"):
        serving(protocol, made)


def test_a_raster_is_the_daemons_own_and_needs_no_remark() -> None:
    made = cache_in_memory(replace(MADE, geometry="raster", pixel_mm=1.25))
    protocol = seen(geometry="raster")
    found = serving(protocol, made)
    assert found.preprocessing.pixel_mm == 1.25
    assert found.remarks == ()


def test_of_whole_images_the_median_side_of_a_pixel_is_served_and_the_spread_is_said() -> None:
    made = cache_in_memory(MADE)
    made.table["pixel_mm"] = np.linspace(0.8, 1.2, len(made.table))
    found = serving(seen(), made)
    assert found.preprocessing.pixel_mm == pytest.approx(1.0)
    assert "0.82 to 1.18 mm" in found.remarks[0]


@pytest.mark.parametrize(("apart", "slab", "thin_below"), [
    (5.0, PreprocessSpec().slab_mm, PreprocessSpec().thin_below_mm), (1.25, 1.25, 0.9375), (0.1, 0.5, 0.375),
])  # fmt: skip
def test_slices_as_thin_as_trained_on_are_left_alone(apart: float, slab: float, thin_below: float) -> None:
    made = cache_in_memory(MADE)
    made.table["position_mm"] *= apart / 5.0
    spec = serving(seen(), made).preprocessing
    assert (spec.slab_mm, spec.thin_below_mm) == (slab, thin_below)


@pytest.mark.parametrize(("loss", "task"), [
    (LossSpec("dice_ce", "bce"), "both"), (LossSpec("dice_ce", "none"), "masks"), (LossSpec("none", "bce"), "labels"),
])  # fmt: skip
def test_what_the_protocol_does_not_weigh_was_not_taught(loss: LossSpec, task: str) -> None:
    assert serving(protocol_of("munet", loss=loss)).task == task
    assert serving(protocol_of("d_unet")).task == "masks"


@pytest.mark.parametrize(("protocol", "sentence"), [
    (seen(clahe=True), r"munet was trained on slices with equalised contrast \(input.clahe\), and the daemon shows"),
    (seen(bone_removal=True), r"without bone \(input.bone_removal\)"),
    (seen(windows=(*WINDOWS, (40.0, 40.0))), "the daemon shows three windows, and munet was trained with 4"),
])  # fmt: skip
def test_what_the_daemon_cannot_show_is_refused(protocol: ExperimentProtocol, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        serving(protocol)


def test_whole_images_of_unknown_size_are_refused() -> None:
    made = cache_in_memory(replace(MADE, dataset="rsna_2019"))
    made.table["pixel_mm"] = np.nan
    with pytest.raises(ValueError, match=r"rsna_2019 does not say how large its pixels are.*--geometry raster"):
        serving(seen(), made)


def test_whole_images_of_unknown_size_are_served_at_a_size_that_a_person_gives() -> None:
    unknown, known = cache_in_memory(MADE), cache_in_memory(MADE)
    unknown.table["pixel_mm"] = np.nan
    found = serving_of(seen(), "munet", unknown, 0.9)
    assert found.preprocessing.pixel_mm == 0.9
    assert "0.9 mm was given at export" in found.remarks[0]
    with pytest.raises(ValueError, match=r"--pixel-mm lies in 0.1..10, not at 20"):
        serving_of(seen(), "munet", unknown, 20.0)
    with pytest.raises(ValueError, match="phantom says how large its pixels are: leave --pixel-mm out"):
        serving_of(seen(), "munet", known, 0.9)


def test_pictures_of_an_unknown_window_are_refused() -> None:
    made = cache_in_memory(replace(MADE, pictures=True))
    description = replace(made.description, spec=replace(made.spec, window=None))
    with pytest.raises(ValueError, match="nobody knows the window of the pictures of phantom"):
        serving(protocol_of("d_unet", "binary", 1), replace_description(made, description))


def replace_description(cache: Cache, description: object) -> Cache:
    return Cache(cache.folder, description, cache.pixels, cache.masks, cache.table)  # type: ignore[arg-type]
