"""A made exam as CT Image Storage instances (PS3.3 A.3), unmistakably synthetic."""

from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from trainer.phantom.exam import PhantomStudy
from triage.domain.finding import ReasonCode

_INTERCEPT = -1024


def uid(*parts: object) -> str:
    """A UID under 2.25 (PS3.5 B.2) that depends on ``parts`` alone."""
    digest = hashlib.sha256("\n".join(str(part) for part in parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def study_instances(study: PhantomStudy, number: int = 1) -> list[bytes]:
    """The exam as Part 10 files in the order of its slices; the same exam makes the same bytes.

    Parameters
    ----------
    number : int
        Tells exams of one run apart: part of the patient ID, the accession number and every UID.
    """
    identity = _identity(study, number)
    return [_encoded(_instance(study, number, index, identity)) for index in range(len(study.planes))]


def study_uids(study: PhantomStudy, number: int = 1) -> tuple[str, str]:
    """Study and Series Instance UID of `study_instances`."""
    identity = _identity(study, number)
    return uid("study", *identity), uid("series", *identity)


def _identity(study: PhantomStudy, number: int) -> tuple[object, ...]:
    """What the UIDs of an exam depend on: its content too, so that no UID ever stands for two contents."""
    content = hashlib.sha256(study.hu.tobytes()).hexdigest()
    return ("ich-triage phantom", study.seed, number, study.status, study.reason, content)


def _encoded(ds: FileDataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _instance(study: PhantomStudy, number: int, index: int, identity: tuple[object, ...]) -> FileDataset:
    """One slice."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid("instance", index, *identity))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)  # type: ignore[arg-type]
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    _describe_patient_and_study(ds, study, number, identity)
    _describe_series(ds, study, identity)
    _describe_geometry(ds, study, index)
    _describe_pixels(ds, study, index)
    return ds


def _describe_patient_and_study(
    ds: FileDataset, study: PhantomStudy, number: int, identity: tuple[object, ...]
) -> None:
    ds.PatientName = "SYNTHETIC^PHANTOM"
    ds.PatientID = f"SYNTHETIC-{study.seed}-{number}"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.StudyInstanceUID = uid("study", *identity)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20250101"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "120000"
    ds.AccessionNumber = f"SYN{study.seed}-{number}"[:16]
    ds.ReferringPhysicianName = ""
    ds.StudyID = str(number)
    ds.StudyDescription = "SYNTHETIC head phantom, not a patient"


def _describe_series(ds: FileDataset, study: PhantomStudy, identity: tuple[object, ...]) -> None:
    contrast = study.reason is ReasonCode.CONTRAST
    ds.Modality = "CT"
    ds.SeriesInstanceUID = uid("series", *identity)
    ds.SeriesNumber = 2
    ds.SeriesDescription = "SYNTHETIC head contrast" if contrast else "SYNTHETIC head axial"
    ds.ProtocolName = "SYNTHETIC HEAD"
    ds.BodyPartExamined = "HEAD"
    ds.PatientPosition = "HFS"
    ds.FrameOfReferenceUID = uid("frame of reference", *identity)
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = "SYNTHETIC"
    ds.ManufacturerModelName = "made head"
    ds.KVP = 120
    ds.FilterType = "HEAD"
    ds.XRayTubeCurrent = 250
    ds.ExposureTime = 1000
    ds.RotationDirection = "CW"
    ds.ConvolutionKernel = "STANDARD"
    if contrast:
        ds.ContrastBolusAgent = "SYNTHETIC AGENT"


def _describe_geometry(ds: FileDataset, study: PhantomStudy, index: int) -> None:
    plane = study.planes[index]
    kind = "LOCALIZER" if study.reason is ReasonCode.LOCALIZER else "AXIAL"
    ds.ImageType = ["ORIGINAL", "PRIMARY", kind]
    ds.AcquisitionNumber = 1
    ds.InstanceNumber = index + 1
    ds.PixelSpacing = [f"{plane.spacing_mm:.6f}"] * 2
    ds.ReconstructionDiameter = f"{plane.spacing_mm * plane.columns:.2f}"
    ds.SliceThickness = f"{plane.thickness_mm:.3f}"
    ds.ImagePositionPatient = [f"{value:.4f}" for value in plane.origin_mm]
    ds.ImageOrientationPatient = [f"{value:.8f}" for value in (*plane.row, *plane.column)]
    ds.SliceLocation = f"{plane.origin_mm[2]:.4f}"
    ds.GantryDetectorTilt = f"{np.rad2deg(np.arctan2(-plane.column[2], plane.column[1])):.2f}"


def _describe_pixels(ds: FileDataset, study: PhantomStudy, index: int) -> None:
    stored = np.clip(study.hu[index].astype(np.int32) - _INTERCEPT, 0, 4095).astype("<u2")
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated = 16
    ds.BitsStored = 12
    ds.HighBit = 11
    ds.PixelRepresentation = 0
    ds.RescaleIntercept = _INTERCEPT
    ds.RescaleSlope = 1
    ds.RescaleType = "HU"
    ds.WindowCenter = 40
    ds.WindowWidth = 80
    ds.PixelData = stored.tobytes()
