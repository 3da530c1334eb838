"""`read_volume`: one volume in HU from any order, packing and compression of the instances."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.builders import ct_series, ellipse_head, enhanced_ct, legacy_converted_ct, localizer, part10
from triage.dicom.header import read_header
from triage.dicom.volume import read_volume
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.volume import Volume

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]
HTJ2K_16X16 = base64.b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQ"
    "kJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAASUAAf+TwAAliQEHdAAAwAATQAATQAATACj+Aod0AP75Awd0ABD9Aod0AMAA"
    "FTAABVQAAVTosBnlngCjlABVYSe+ovcAwpQAjsvUhFz+AMKUAMAAFtwAAW5AABa4hrl6BWfysliOuXrHBY0JII9lFSL+BoYwMZYAhlkwQQ8pfpFT"
    "BHLtd7f/HPtKsu8AiCxGMAKYAA5dVBkwr4UpBOaiDNPkAAAPf4hAAzkAwAAulgABddAAC1BlXmbPd/G3TxmMASQBAADpF2GAAQbjBgcq4HzlnLU4"
    "IldEC98AZShV5th9r2SAh8zjPRfeXq/X6/V6ACEB79iEB7LEUD/vKIDeOAAYDtIwAL/ZAZsBAFgJALT4PIG8gDHAIBiQB9wA/9k="
)
"""A codestream of `htj2k_pixels`, lossless, written once by an encoder that this project does not install."""


def htj2k_pixels() -> np.ndarray:
    pixels = np.arange(256).reshape(16, 16) * 7 - 900
    pixels[3:9, 4:12] = 1200
    return pixels


def volume_of(series: list[Dataset]) -> Volume:
    return read_volume([part10(ds) for ds in series])


def heads(slices: int, seed: int = 1) -> np.ndarray:
    """Ellipse heads with noise, whole HU, no two slices alike."""
    noise = np.random.default_rng(seed).integers(-20, 20, (slices, 64, 64))
    stack = np.stack([ellipse_head(64, 64, height=h) for h in np.linspace(-0.8, 0.8, slices)])
    return np.maximum(stack + noise, -1024)


def refused(series: list[Dataset]) -> tuple[ReasonCode, str]:
    with pytest.raises(UnusableSeries) as caught:
        volume_of(series)
    assert str(caught.value).endswith(".")
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_every_transfer_syntax_gives_the_same_hu(syntax: str, signed: bool) -> None:
    hu = heads(3)
    volume = volume_of(ct_series(3, hu=hu, transfer_syntax=syntax, signed=signed))
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.hu.dtype == np.float32
    assert volume.hu.dtype.isnative


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_twelve_bits_compressed(syntax: str, signed: bool) -> None:
    hu = heads(2)
    intercept = 0.0 if signed else -1024.0
    volume = volume_of(ct_series(2, hu=hu, transfer_syntax=syntax, signed=signed, bits_stored=12, intercept=intercept))
    np.testing.assert_array_equal(volume.hu, hu)


@pytest.mark.parametrize(
    "syntax", [gdcm.TransferSyntax.JPEGLosslessProcess14, gdcm.TransferSyntax.JPEGLosslessProcess14_1]
)
def test_jpeg_lossless(tmp_path: Path, syntax: int) -> None:
    hu = heads(2)
    contents = [_recoded(part10(ds), syntax, tmp_path / "one.dcm") for ds in ct_series(2, hu=hu, signed=False)]
    assert read_header(contents[0]).transfer_syntax_uid in ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
    np.testing.assert_array_equal(read_volume(contents).hu, hu)


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K], ids=lambda uid: uid.name)
def test_htj2k(syntax: str) -> None:
    series = ct_series(2, 16, 16, hu=htj2k_pixels(), intercept=0)
    for ds in series:
        ds.file_meta.TransferSyntaxUID = syntax
        ds.PixelData = encapsulate([HTJ2K_16X16])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    np.testing.assert_array_equal(volume_of(series).hu[0], htj2k_pixels())


def _recoded(content: bytes, syntax: int, file: Path) -> bytes:
    file.write_bytes(content)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(file))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(file))
    assert writer.Write()
    return file.read_bytes()


def test_slices_are_sorted_along_the_normal_whatever_the_order_of_arrival() -> None:
    series = ct_series(12, hu=heads(12), tilt_degrees=-20)
    expected = volume_of(series)
    shuffled = series.copy()
    random.Random(3).shuffle(shuffled)
    volume = volume_of(shuffled)
    np.testing.assert_array_equal(volume.hu, expected.hu)
    assert volume.sources == expected.sources
    assert [source.sop_instance_uid for source in volume.sources] == [ds.SOPInstanceUID for ds in series]
    np.testing.assert_allclose(volume.positions_mm, [ds.ImagePositionPatient for ds in series])
    np.testing.assert_allclose(np.diff(volume.stack.distances_mm), 5.0, atol=1e-4)
    np.testing.assert_allclose(volume.orientation, series[0].ImageOrientationPatient)
    assert volume.frame_of_reference_uid == series[0].FrameOfReferenceUID
    assert volume.pixel_spacing_mm == (4.0, 4.0)


@pytest.mark.parametrize("convert", [enhanced_ct, legacy_converted_ct])
@pytest.mark.parametrize("tilt_degrees", [0, 15])
def test_multi_frame_gives_the_volume_of_the_single_frames(convert: Any, tilt_degrees: float) -> None:
    series = ct_series(6, hu=heads(6), tilt_degrees=tilt_degrees)
    expected, volume = volume_of(series), volume_of([convert(series)])
    np.testing.assert_array_equal(volume.hu, expected.hu)
    np.testing.assert_allclose(volume.positions_mm, expected.positions_mm, atol=1e-4)
    np.testing.assert_allclose(volume.voxel_ml, expected.voxel_ml)
    assert sorted(source.frame_number for source in volume.sources) == [1, 2, 3, 4, 5, 6]
    assert len({source.sop_instance_uid for source in volume.sources}) == 1


def test_frames_of_an_enhanced_instance_may_lie_in_any_order() -> None:
    series = ct_series(6, hu=heads(6))
    volume = volume_of([enhanced_ct(series[::-1])])
    np.testing.assert_array_equal(volume.hu, volume_of(series).hu)
    assert [source.frame_number for source in volume.sources] == [6, 5, 4, 3, 2, 1]


def test_a_series_split_over_two_multi_frame_instances() -> None:
    series = ct_series(6, hu=heads(6))
    volume = volume_of([enhanced_ct(series[3:]), enhanced_ct(series[:3])])
    np.testing.assert_array_equal(volume.hu, volume_of(series).hu)


def test_rescale_of_each_frame_is_its_own() -> None:
    hu = heads(4)
    series = ct_series(2, hu=hu[:2], intercept=-1024) + ct_series(2, hu=hu[2:], intercept=0, heights_mm=[10, 15])
    for ds in series:
        ds.FrameOfReferenceUID, ds.StudyInstanceUID = "1.2.3", "1.2.4"
    np.testing.assert_array_equal(volume_of(series).hu, hu)
    np.testing.assert_array_equal(volume_of([enhanced_ct(series)]).hu, hu)


def test_a_slope_other_than_one() -> None:
    hu = np.round(heads(2) / 2) * 2
    np.testing.assert_array_equal(volume_of(ct_series(2, hu=hu, slope=2.0)).hu, hu)


def test_uneven_steps_and_thicknesses_are_kept() -> None:
    heights = [0.0, 4.0, 8.0, 9.0, 16.0, 23.0]
    thickness = [4, 4, 4, 7, 7, 7]
    volume = volume_of(ct_series(heights_mm=heights, hu=heads(6), SliceThickness=lambda n: thickness[n]))
    np.testing.assert_allclose(volume.stack.distances_mm, heights)
    np.testing.assert_allclose(volume.stack.thickness_mm, thickness)
    np.testing.assert_allclose(volume.stack.extents_mm(), [4, 4, 2.5, 4.0, 7, 7])


def test_truncated_pixels_are_undecodable() -> None:
    contents = [part10(ds) for ds in ct_series(10)]
    contents[4] = contents[4][:-100]
    with pytest.raises(UnusableSeries, match="truncated") as caught:
        read_volume(contents)
    assert caught.value.reason is ReasonCode.UNDECODABLE


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize("damage", ["noise", "half", "two bytes"])
def test_damaged_compressed_pixels_are_undecodable_and_nothing_else(syntax: str, damage: str) -> None:
    series = ct_series(2, hu=heads(2), transfer_syntax=syntax)
    body = next(generate_frames(series[1].PixelData, number_of_frames=1))
    noise = np.random.default_rng(0).bytes(len(body))
    fragment = {"noise": noise, "half": body[: len(body) // 2], "two bytes": b"\0\0"}[damage]
    series[1].PixelData = encapsulate([fragment])
    series[1]["PixelData"].is_undefined_length = True
    assert refused(series)[0] is ReasonCode.UNDECODABLE


def test_fewer_frames_in_the_pixels_than_in_the_header() -> None:
    ds = enhanced_ct(ct_series(4))
    ds.PixelData = ds.PixelData[: 3 * 64 * 64 * 2]
    assert refused([ds])[0] is ReasonCode.UNDECODABLE


@pytest.mark.parametrize(
    ("expected", "overrides"),
    [
        ("not_original_hu", {"PhotometricInterpretation": "MONOCHROME1"}),
        ("not_original_hu", {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}),
        ("not_original_hu", {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
        ("not_original_hu", {"RescaleSlope": None}),
        ("not_original_hu", {"RescaleIntercept": None}),
        ("not_original_hu", {"RescaleSlope": 0}),
        ("undecodable", {"PixelData": None}),
        ("undecodable", {"BitsAllocated": 12}),
        ("undecodable", {"HighBit": 16}),
        ("undecodable", {"Rows": 0}),
        ("undecodable", {"Rows": 60000, "Columns": 60000}),
        ("no_geometry", {"ImagePositionPatient": None}),
        ("duplicate_positions", {"ImagePositionPatient": [0, 0, 0]}),
        ("gap", {"heights_mm": [0, 5, 10, 30, 35, 40]}),
    ],
    ids=str,
)
def test_each_refusal_has_its_reason(expected: str, overrides: dict[str, Any]) -> None:
    assert refused(ct_series(6, **overrides))[0] == ReasonCode(expected)


def test_a_localizer_among_the_slices_is_the_callers_to_set_aside() -> None:
    series = ct_series(6)
    scout = localizer(FrameOfReferenceUID=series[0].FrameOfReferenceUID)
    assert refused([*series, scout])[0] is ReasonCode.MIXED_ORIENTATION


def test_what_claims_more_voxels_than_memory_holds_is_refused_before_any_is_allocated() -> None:
    series = ct_series(40, 4, 4, Rows=4096, Columns=4096)
    assert refused(series)[0] is ReasonCode.UNDECODABLE


def test_no_instances_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one"):
        read_volume([])
    with pytest.raises(UnusableSeries, match="cannot be read"):
        read_volume([b"no DICOM at all"])
