"""The series that result objects without highdicom lie in, and where in the body they look."""

from __future__ import annotations

from pydicom.dataset import Dataset

from triage.dicom.equipment import serial_number, series_description, series_number, software_versions
from triage.dicom.header import OWN_NAME
from triage.dicom.source import Source
from triage.domain.encoded import ObjectKind
from triage.domain.provenance import Provenance


def own_series(kind: ObjectKind, modality: str, what: str, source: Source, provenance: Provenance) -> Dataset:
    """The General Series and General Equipment modules (PS3.3 C.7.3.1, C.7.5.1) of a series of ours.

    ``what`` is what the series holds, as its description says it.
    """
    ds = Dataset()
    ds.Modality = modality
    ds.SeriesInstanceUID = source.result_uid(f"{kind} series", provenance)
    ds.SeriesNumber = series_number(kind, source.series_number)
    ds.SeriesDescription = series_description(what, provenance)
    ds.Manufacturer = ds.ManufacturerModelName = OWN_NAME
    ds.SoftwareVersions = software_versions(provenance)
    ds.DeviceSerialNumber = serial_number(provenance)
    set_body_part(ds, source)
    return ds


def set_body_part(ds: Dataset, source: Source) -> None:
    """The body part of the source, or the only one that is analysed; without any, Laterality would be required."""
    if source.body_part is not None:
        ds[source.body_part.tag] = source.body_part
    else:
        ds.BodyPartExamined = "HEAD"
