"""HU from stored values: the faults of real files are undone, and anatomy is never touched by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from tests.builders import ct_series, ellipse_head, part10, set_pixels
from triage.dicom.volume import read_volume
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode

SIDE = 64
_Y, _X = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2
OUTSIDE = np.hypot(_X, _Y) > SIDE / 2


def head_hu() -> NDArray[np.float64]:
    """A head whose tissues hold the values that padding faults use: 0, -1, 2000 and 2047 HU."""
    hu = ellipse_head(SIDE, SIDE)
    hu[30, 20:30], hu[31, 20:30], hu[32, 20:30], hu[33, 20:30] = 0, -1, 2000, 2047
    return hu


def series_of(stored: NDArray[Any], intercept: float, **kwargs: Any) -> list[Dataset]:
    """Two slices of the same stored values."""
    series = ct_series(2, SIDE, SIDE, intercept=intercept, **kwargs)
    for ds in series:
        set_pixels(ds, stored, bits_stored=kwargs.get("bits_stored", 16), signed=kwargs.get("signed", True))
    return series


def read(series: list[Dataset]) -> NDArray[np.float32]:
    return read_volume([part10(ds) for ds in series]).hu


def padded(value: int, *, declared: bool, vr: str = "SS", intercept: float = 0.0, **kwargs: Any) -> list[Dataset]:
    stored = head_hu() - intercept
    stored[OUTSIDE] = value
    series = series_of(stored, intercept, **kwargs)
    for ds in series:
        if declared:
            ds.add(DataElement(0x00280120, vr, value))
    return series


def test_the_head_stays_as_it_is() -> None:
    np.testing.assert_array_equal(read(series_of(head_hu(), 0.0))[0], head_hu())


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("value", [-1500, -2000, -3024, -32768])
def test_low_padding_becomes_air(value: int, declared: bool) -> None:
    hu = read(padded(value, declared=declared))[0]
    assert (hu[OUTSIDE] == -1024).all()
    np.testing.assert_array_equal(hu[~OUTSIDE], head_hu()[~OUTSIDE])


def test_padding_between_minus_1024_and_air_becomes_minus_1024() -> None:
    hu = read(padded(-1000 + 1024, declared=True, intercept=-1024.0))[0]
    assert (hu[OUTSIDE] == -1024).all()


@pytest.mark.parametrize("value", [0, -1, 40])
def test_a_declared_padding_value_that_is_tissue_is_not_believed(value: int) -> None:
    series = series_of(head_hu(), 0.0)
    for ds in series:
        ds.add(DataElement(0x00280120, "SS", value))
    np.testing.assert_array_equal(read(series)[0], head_hu())


def test_padding_outside_the_stored_bits_is_told_from_the_whole_word() -> None:
    # -2000 in a 12-bit image: the twelve bits alone read 2096, brighter than bone
    stored = (head_hu() + 1024).astype(np.int64)
    stored[OUTSIDE] = 0xF830
    series = ct_series(2, SIDE, SIDE, bits_stored=12, signed=False, intercept=-1024)
    for ds in series:
        ds.PixelData = stored.astype("<u2").tobytes()
        ds.add(DataElement(0x00280120, "US", 0xF830))
    hu = read(series)[0]
    assert (hu[OUTSIDE] == -1024).all()
    np.testing.assert_array_equal(hu[~OUTSIDE], head_hu()[~OUTSIDE])


@pytest.mark.parametrize("vr", ["SS", "US"])
def test_padding_written_in_the_other_signedness(vr: str) -> None:
    series = padded(-2000, declared=False)
    for ds in series:
        ds.add(DataElement(0x00280120, vr, -2000 if vr == "SS" else 65536 - 2000))
    assert (read(series)[0][OUTSIDE] == -1024).all()


def test_a_range_of_padding_values() -> None:
    stored = head_hu() + 1024
    stored[OUTSIDE] = np.arange(OUTSIDE.sum()) % 20
    series = series_of(stored, -1024.0)
    for ds in series:
        ds.add(DataElement(0x00280120, "SS", 0))
        ds.add(DataElement(0x00280121, "SS", 19))
    hu = read(series)[0]
    assert (hu[OUTSIDE] == -1024).all()
    np.testing.assert_array_equal(hu[~OUTSIDE], head_hu()[~OUTSIDE])


@pytest.mark.parametrize(("value", "limit"), [(-32768, 100), (0, 32767), (-2000, 50)])
def test_a_range_of_padding_that_holds_tissue_is_not_believed(value: int, limit: int) -> None:
    series = series_of(head_hu(), 0.0, bits_stored=12)
    for ds in series:
        ds.add(DataElement(0x00280120, "SS", value))
        ds.add(DataElement(0x00280121, "SS", limit))
    np.testing.assert_array_equal(read(series)[0], head_hu())


@pytest.mark.parametrize("value", [0, 500, 3000])
def test_an_undeclared_bright_constant_outside_the_scan_field_becomes_air(value: int) -> None:
    hu = read(padded(value, declared=False))[0]
    assert (hu[OUTSIDE] == -1024).all()
    np.testing.assert_array_equal(hu[~OUTSIDE], head_hu()[~OUTSIDE])


def test_corners_that_only_look_alike_are_left_alone() -> None:
    stored = head_hu()
    stored[OUTSIDE] = 40 + np.arange(OUTSIDE.sum()) % 3
    stored[[0, 0, -1, -1], [0, -1, 0, -1]] = 40
    np.testing.assert_array_equal(read(series_of(stored, 0.0))[0], stored)


def wrapped(hu: NDArray[np.float64], intercept: float = 0.0, **kwargs: Any) -> list[Dataset]:
    return series_of((hu - intercept).astype(np.int64) % 4096, intercept, bits_stored=12, signed=False, **kwargs)


def test_the_twelve_bit_wrap_of_rsna_is_undone() -> None:
    np.testing.assert_array_equal(read(wrapped(head_hu()))[0], head_hu())
    np.testing.assert_array_equal(read(wrapped(head_hu(), intercept=-1.0))[0], head_hu())


def test_wrapped_air_with_noise_around_minus_1000() -> None:
    hu = head_hu()
    hu[hu == -1000] += np.random.default_rng(0).integers(-24, 25, (hu == -1000).sum())
    np.testing.assert_array_equal(read(wrapped(hu))[0], hu)


def test_a_wrap_is_a_matter_of_the_whole_series() -> None:
    brain_only = np.full((SIDE, SIDE), 30.0)
    series = wrapped(head_hu())
    set_pixels(series[1], brain_only.astype(int), bits_stored=12, signed=False)
    hu = read(series)
    np.testing.assert_array_equal(hu[0], head_hu())
    np.testing.assert_array_equal(hu[1], brain_only)


def test_metal_in_a_sound_image_is_no_wrap() -> None:
    hu = head_hu()
    hu[28:40, 28:40] = 3071  # 3.5 % of the image
    np.testing.assert_array_equal(read(series_of(hu + 1024, -1024.0, bits_stored=12, signed=False))[0], hu)
    np.testing.assert_array_equal(read(series_of(hu, 0.0))[0], hu)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("syntax", [None, ExplicitVRBigEndian, RLELossless])
def test_garbage_above_the_stored_bits_is_dropped(signed: bool, syntax: str | None) -> None:
    intercept = 0.0 if signed else -1024.0
    series = series_of(head_hu() - intercept, intercept, bits_stored=12, signed=signed)
    garbage = (np.arange(SIDE * SIDE) % 16).astype("<u2") << 12
    for ds in series:
        words = (np.frombuffer(ds.PixelData, "<u2") & 0x0FFF) | garbage
        ds.PixelData = words.astype(">u2" if syntax == ExplicitVRBigEndian else "<u2").tobytes()
        if syntax == ExplicitVRBigEndian:
            ds.file_meta.TransferSyntaxUID = syntax
        elif syntax:
            ds.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(read(series)[0], head_hu())


def test_stored_bits_that_do_not_begin_at_the_lowest() -> None:
    series = series_of(head_hu(), 0.0, bits_stored=12)
    for ds in series:
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") << 4).astype("<u2").tobytes()
        ds.HighBit = 15
    np.testing.assert_array_equal(read(series)[0], head_hu())


def test_thirty_two_bits() -> None:
    series = series_of(head_hu(), 0.0)
    for ds in series:
        ds.BitsAllocated = ds.BitsStored = 32
        ds.HighBit = 31
        ds.PixelData = head_hu().astype("<i4").tobytes()
    np.testing.assert_array_equal(read(series)[0], head_hu())


@pytest.mark.parametrize(
    ("stored", "intercept"),
    [
        (np.clip(head_hu(), 0, 80), 0.0),  # clipped to a brain window
        (np.clip(head_hu() / 80, 0, 1) * 255, 0.0),  # a grey level export in 16 bits
        (np.clip(head_hu() / 80, 0, 1) * 255, -1024.0),  # the same with a rescale that was left in
        (np.zeros((SIDE, SIDE)), 0.0),
        (np.zeros((SIDE, SIDE)), -1024.0),
    ],
)
def test_values_that_cannot_be_hu_are_refused(stored: NDArray[Any], intercept: float) -> None:
    with pytest.raises(UnusableSeries, match="not original HU") as caught:
        read(series_of(np.round(stored), intercept))
    assert caught.value.reason is ReasonCode.NOT_ORIGINAL_HU
