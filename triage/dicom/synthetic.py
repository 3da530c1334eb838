"""A small study of no patient, for `triage selftest`: it says so in every text that a list may show."""

from __future__ import annotations

import io
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from triage.dicom.uids import synthetic_uid
from triage.domain.provenance import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

SLICES, SIZE, PIXEL_MM, STEP_MM = 12, 128, 2.0, 5.0
PATIENT_NAME = "SYNTHETIC^SELFTEST^Größe=合成^試験"
"""In three scripts: what an archive does to a character set shows at once."""

_AIR_HU, _BONE_HU, _BRAIN_HU = -1000.0, 900.0, 34.0


def synthetic_study(run: str, at: datetime) -> list[bytes]:
    """Twelve CT slices of an oval head as Part 10 files, caudal to cranial.

    Parameters
    ----------
    run : str
        Names the study: the same name makes the same UIDs.
    at : datetime
        Study and content time.
    """
    hu = _head()
    return [_slice(run, at, index, hu) for index in range(SLICES)]


def _head() -> NDArray[np.float64]:
    """One slice in HU, shape (row, column): the same oval on every slice."""
    y, x = (np.mgrid[0:SIZE, 0:SIZE] - (SIZE - 1) / 2) * PIXEL_MM
    hu = np.full((SIZE, SIZE), _AIR_HU)
    hu[(x / 73) ** 2 + (y / 93) ** 2 <= 1] = _BONE_HU
    hu[(x / 66) ** 2 + (y / 86) ** 2 <= 1] = _BRAIN_HU
    return hu


def _slice(run: str, at: datetime, index: int, hu: NDArray[np.float64]) -> bytes:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, synthetic_uid(run, f"instance {index}")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = synthetic_uid(run, "study"), synthetic_uid(run, "series")
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = synthetic_uid(run, "frame of reference"), ""
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = at.strftime("%Y%m%d")
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = at.strftime("%H%M%S")
    ds.Modality, ds.Manufacturer, ds.BodyPartExamined = "CT", "SYNTHETIC", "HEAD"
    ds.PatientName, ds.PatientID = PATIENT_NAME, f"SELFTEST-{run[:8]}"
    ds.PatientBirthDate, ds.PatientSex, ds.ReferringPhysicianName = "", "O", ""
    ds.AccessionNumber, ds.StudyID = "", "SELFTEST"
    ds.StudyDescription = "SYNTHETIC self-test of ich-triage, not a patient"
    ds.SeriesDescription = "SYNTHETIC, not a patient"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 1, index + 1, 1
    ds.KVP, ds.SliceThickness, ds.PixelSpacing = 120, STEP_MM, [PIXEL_MM, PIXEL_MM]
    corner = -PIXEL_MM * (SIZE - 1) / 2
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [corner, corner, STEP_MM * index], [1, 0, 0, 0, 1, 0]
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    ds.Rows = ds.Columns = SIZE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelData = (hu + 1024).astype("<i2").tobytes()
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()
