"""Small SYNTHETIC DICOM instances for tests: head CT series, their multi-frame twins, and things that are no head CT.

Every builder returns pydicom Datasets with file meta; `part10` turns one into the bytes of a file.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

AIR_HU, SKIN_HU, SKULL_HU, BRAIN_HU, VENTRICLE_HU = -1000.0, 40.0, 950.0, 34.0, 8.0
NAMES = {
    "ir87": (b"\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
    "utf8": (b"ISO_IR 192", "SYNTHETIC^Größe 頭部".encode()),
    "broken": (b"ISO_IR 9999", b"SYNTHETIC^\xff\xfe\x80\x1b$"),
    "undeclared": (b"", b"SYNTHETIC^Gr\xf6\xdfe"),
}
"""Character set and name bytes for `part10_named`; in ``ir87`` escapes are needed, ``broken`` is no set at all."""

Pixels = Callable[[int], NDArray[Any]] | NDArray[Any]
_UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def ellipse_head(rows: int, columns: int, spacing_mm: float = 4.0, height: float = 0.0) -> NDArray[np.float64]:
    """One slice of a plain head in HU, shape (row, column); ``height`` -1..1 runs from the base to the vertex."""
    y, x = np.mgrid[0:rows, 0:columns].astype(float)
    y, x = (y - (rows - 1) / 2) * spacing_mm, (x - (columns - 1) / 2) * spacing_mm
    taper = np.sqrt(max(0.05, 1.0 - 0.85 * height**2))
    hu = np.full((rows, columns), AIR_HU)
    for half_width, half_length, value in ((78, 98, SKIN_HU), (73, 93, SKULL_HU), (66, 86, BRAIN_HU)):
        hu[(x / (half_width * taper)) ** 2 + (y / (half_length * taper)) ** 2 <= 1] = value
    if abs(height) < 0.5:
        hu[((np.abs(x) - 14) / 7) ** 2 + (y / 24) ** 2 <= 1] = VENTRICLE_HU
    return hu


def ct_series(
    slices: int = 30,
    rows: int = 64,
    columns: int = 64,
    *,
    spacing_mm: float = 4.0,
    thickness_mm: float = 5.0,
    step_mm: float = 5.0,
    heights_mm: Sequence[float] | None = None,
    tilt_degrees: float = 0.0,
    hu: Pixels | None = None,
    transfer_syntax: str = ExplicitVRLittleEndian,
    slope: float = 1.0,
    intercept: float = -1024.0,
    bits_stored: int = 16,
    signed: bool = True,
    **overrides: Any,
) -> list[Dataset]:
    """A non-contrast axial head CT, one Dataset per slice from caudal to cranial.

    ``heights_mm`` (or even steps of ``step_mm``) are distances along the normal; with a tilt the bed moves along
    z and the slices are sheared, as scanners do. ``hu`` is a function of the slice index, or an array of one
    slice or of all. An override is an element keyword: a value, None to leave it out, or a function of the index.
    """
    heights = np.asarray(heights_mm if heights_mm is not None else np.arange(slices) * step_mm, dtype=float)
    tilt = np.deg2rad(tilt_degrees)
    study, series, frame_of_reference = generate_uid(None), generate_uid(None), generate_uid(None)
    left, front = -spacing_mm * (columns - 1) / 2, -spacing_mm * (rows - 1) / 2
    instances = []
    for index, height in enumerate(heights):
        ds = _instance(CTImageStorage, "CT", study, series, index + 1)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = frame_of_reference, ""
        ds.SliceThickness, ds.KVP, ds.ConvolutionKernel = thickness_mm, 120, "H30s"
        ds.GantryDetectorTilt, ds.AcquisitionNumber = tilt_degrees, 1
        ds.ImagePositionPatient = [left, front, _decimal(float(height) / float(np.cos(tilt)))]
        ds.ImageOrientationPatient = [1, 0, 0, 0, _decimal(np.cos(tilt)), _decimal(-np.sin(tilt))]
        ds.PixelSpacing = [spacing_mm, spacing_mm]
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = slope, intercept, "HU"
        image = _slice(hu, index, len(heights), rows, columns, spacing_mm)
        set_pixels(ds, np.round((image - intercept) / slope), bits_stored=bits_stored, signed=signed)
        _override(ds, overrides, index)
        instances.append(encode(ds, transfer_syntax))
    return instances


def set_pixels(ds: Dataset, stored: NDArray[Any], *, bits_stored: int = 16, signed: bool = True) -> None:
    """Put stored values of shape (row, column) or (frame, row, column) in, little endian, 16 bits allocated."""
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(signed)
    values = np.clip(stored, *_range_of(bits_stored, signed)).astype("<i4")
    ds.PixelData = (values & (2**bits_stored - 1 if not signed else 0xFFFF)).astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"


def encode(ds: Dataset, transfer_syntax: str) -> Dataset:
    """Give a Dataset in explicit little endian another transfer syntax, compressing where it asks for that."""
    if transfer_syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    if transfer_syntax in _UNCOMPRESSED:
        ds.file_meta.TransferSyntaxUID = transfer_syntax
    else:
        uid = ds.SOPInstanceUID
        ds.compress(transfer_syntax, generate_instance_uid=False)
        ds.SOPInstanceUID = uid
    return ds


def part10(ds: Dataset) -> bytes:
    """The bytes of the file: preamble, file meta, Dataset in the transfer syntax of its meta."""
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def part10_named(ds: Dataset, kind: str) -> bytes:
    """The file with a patient's name and a series description in one of `NAMES`, byte for byte as written there."""
    character_set, name = NAMES[kind]
    named = copy.deepcopy(ds)
    width = len(name) + len(name) % 2
    named.SpecificCharacterSet, named.PatientName, named.SeriesDescription = "ISO_IR 100", "N" * width, "D" * width
    content = part10(named).replace(b"N" * width, name.ljust(width)).replace(b"D" * width, name.ljust(width))
    declared = character_set.ljust(len(character_set) + len(character_set) % 2)
    old = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
    return content.replace(old, b"\x08\x00\x05\x00CS" + len(declared).to_bytes(2, "little") + declared)


def part10_damaged(ds: Dataset, how: str) -> bytes:
    """A file that the door files and pydicom cannot read, for it ends in the middle of the header.

    ``sequence``: inside a sequence of undefined length, whose item has no end; ``deflated``: inside the stream.
    """
    headless = copy.deepcopy(ds)
    del headless.PixelData
    if how == "deflated":
        headless.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        return part10(headless)[:-8]
    return part10(headless) + bytes.fromhex("40007502 53510000 ffffffff feff00e0 ffffffff 08000401 4c4f")


LOOSE_SEQUENCE = bytes.fromhex("feff00e01800000008000401ffffffff08000401000000003cd910b4")
"""The value of a sequence in implicit VR that no reader gets through."""


def enhanced_ct(series: Sequence[Dataset]) -> Dataset:
    """The same pixels and geometry as one Enhanced CT instance (PS3.3 A.38.1); rescale stays per frame."""
    first = series[0]
    ds = _instance(EnhancedCTImageStorage, "CT", first.StudyInstanceUID, generate_uid(None), 1)
    for keyword in ("FrameOfReferenceUID", "BodyPartExamined", "PatientPosition", "StudyDescription"):
        setattr(ds, keyword, first[keyword].value)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.NumberOfFrames = len(series)
    stored = np.stack([np.frombuffer(one.PixelData, "<u2").reshape(one.Rows, one.Columns) for one in series])
    set_pixels(ds, stored.view("<i2"), signed=bool(first.PixelRepresentation))
    ds.SharedFunctionalGroupsSequence = DicomSequence([_shared_groups(first)])
    ds.PerFrameFunctionalGroupsSequence = DicomSequence([_frame_groups(one) for one in series])
    return ds


def legacy_converted_ct(series: Sequence[Dataset]) -> Dataset:
    """The same pixels and geometry as one Legacy Converted Enhanced CT instance, written by highdicom."""
    from highdicom.legacy import LegacyConvertedEnhancedCTImage  # slow to import

    first = series[0]
    return LegacyConvertedEnhancedCTImage(
        list(series),
        series_instance_uid=generate_uid(None),
        series_number=first.SeriesNumber + 100,
        sop_instance_uid=generate_uid(None),
        instance_number=1,
    )


def localizer(study_instance_uid: str | None = None, **overrides: Any) -> Dataset:
    """A sagittal scout."""
    (ds,) = ct_series(
        1, **{"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesDescription": "Scout", **overrides}
    )
    ds.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    ds.StudyInstanceUID = study_instance_uid or ds.StudyInstanceUID
    return ds


def rgb_screen(study_instance_uid: str | None = None) -> Dataset:
    """A dose report as a colour screen, filed as CT."""
    ds = _instance(SecondaryCaptureImageStorage, "CT", study_instance_uid or generate_uid(None), generate_uid(None), 1)
    ds.ImageType = ["DERIVED", "SECONDARY", "DOSE_INFO"]
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PlanarConfiguration = 16, 16, 3, 0
    ds.PhotometricInterpretation, ds.PixelRepresentation = "RGB", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = bytes(16 * 16 * 3)
    ds["PixelData"].VR = "OB"
    return ds


def structured_report(study_instance_uid: str | None = None) -> Dataset:
    """A short text report without pixels."""
    ds = _instance(BasicTextSRStorage, "SR", study_instance_uid or generate_uid(None), generate_uid(None), 1)
    ds.ValueType, ds.CompletionFlag, ds.VerificationFlag = "CONTAINER", "COMPLETE", "UNVERIFIED"
    return ds


def segmentation(study_instance_uid: str | None = None, manufacturer: str = "SYNTHETIC") -> Dataset:
    """The header of a segmentation; with the manufacturer ``ich-triage`` it is one of our own objects."""
    ds = _instance(SegmentationStorage, "SEG", study_instance_uid or generate_uid(None), generate_uid(None), 1)
    ds.Manufacturer, ds.ManufacturerModelName = manufacturer, manufacturer
    ds.ImageType = ["DERIVED", "PRIMARY"]
    return ds


def _instance(sop_class: str, modality: str, study: str, series: str, number: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid(None)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "SYNTHETIC^HEAD", "SYNTHETIC", "", ""
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "SYN0001", ""
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = "20240102"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = "030405"
    ds.StudyDescription, ds.SeriesDescription, ds.ProtocolName = "CT HEAD", "HEAD SYNTHETIC", "HEAD ROUTINE"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = modality, "SYNTHETIC", "BUILDER"
    ds.BodyPartExamined, ds.PatientPosition = "HEAD", "HFS"
    ds.SeriesNumber, ds.InstanceNumber = 2, number
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _slice(
    hu: Pixels | None, index: int, slices: int, rows: int, columns: int, spacing_mm: float
) -> NDArray[np.float64]:
    if hu is None:
        return ellipse_head(rows, columns, spacing_mm, height=-0.9 + 1.8 * (index + 0.5) / slices)
    image = hu(index) if callable(hu) else hu[index] if hu.ndim == 3 else hu
    return np.asarray(image, dtype=np.float64)


def _override(ds: Dataset, overrides: dict[str, Any], index: int) -> None:
    for keyword, value in overrides.items():
        chosen = value(index) if callable(value) else value
        if chosen is not None:
            setattr(ds, keyword, chosen)
        elif keyword in ds:
            delattr(ds, keyword)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID


def _shared_groups(first: Dataset) -> Dataset:
    measures, orientation, kind = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, first.SliceThickness
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    kind.FrameType, kind.PixelPresentation = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "MONOCHROME"
    shared, kernel = Dataset(), Dataset()
    kernel.ConvolutionKernel = first.ConvolutionKernel
    shared.PixelMeasuresSequence = DicomSequence([measures])
    shared.PlaneOrientationSequence = DicomSequence([orientation])
    shared.CTImageFrameTypeSequence = DicomSequence([kind])
    shared.CTReconstructionSequence = DicomSequence([kernel])
    return shared


def _frame_groups(one: Dataset) -> Dataset:
    position, rescale, frame = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = one.ImagePositionPatient
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = one.RescaleSlope, one.RescaleIntercept, "HU"
    frame.PlanePositionSequence = DicomSequence([position])
    frame.PixelValueTransformationSequence = DicomSequence([rescale])
    return frame


def _decimal(value: float) -> float:
    """A value that fits the 16 characters of a decimal string."""
    return float(f"{value:.8g}")


def _range_of(bits: int, signed: bool) -> tuple[int, int]:
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
