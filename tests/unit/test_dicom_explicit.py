"""What is written element by element is what pydicom writes, and what is raw leaves as it came."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from triage.dicom.explicit import elements_of, encoded, raw


def as_pydicom_writes(ds: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax_uid
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=False)
    content = out.getvalue()
    return content[content.index(b"\x08\x00") :]


def dataset() -> Dataset:
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning, inner.Rows = "odd", "even", 3
    nested = Dataset()
    nested.ConceptNameCodeSequence, nested.TextValue = DicomSequence([inner]), "a longer text."
    ds = Dataset()
    ds.SOPClassUID, ds.ImageType, ds.StudyDescription = "1.2.3", ["DERIVED", "SECONDARY"], ""
    ds.ContentSequence, ds.ReferencedImageSequence = DicomSequence([nested, inner]), DicomSequence()
    ds.PixelSpacing, ds.SeriesNumber, ds.PatientName, ds.StudyDate = [0.5, 0.25], 7, "SYNTHETIC^HEAD", None
    ds.GraphicData, ds.FailedAttributesSequence = [1.0, 2.5], None
    return ds


def test_elements_are_written_as_pydicom_writes_them() -> None:
    assert encoded(elements_of(dataset())) == as_pydicom_writes(dataset())


def test_text_beyond_ascii_is_left_to_pydicom() -> None:
    ds = Dataset()
    ds.StudyDescription = "Größe"
    assert encoded(elements_of(ds)) == as_pydicom_writes(ds)


def test_encapsulated_pixels_keep_their_undefined_length() -> None:
    ds = Dataset()
    ds.Rows = 1
    ds[0x7FE00010] = DataElement(0x7FE00010, "OB", encapsulate([b"\1\2\3\4"]), is_undefined_length=True)
    assert encoded(elements_of(ds)).endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    ds.SpecificCharacterSet = "ISO_IR 100"  # something of group 8 to begin with
    assert encoded(elements_of(ds)) == as_pydicom_writes(ds, RLELossless)


@pytest.mark.parametrize(("vr", "header"), [("OB", 12), ("LO", 8), ("UN", 12)])
def test_a_raw_value_leaves_as_it_came(vr: str, header: int) -> None:
    value = np.arange(256, dtype=np.uint8).tobytes()
    tag = Tag(0x00091010)
    written = encoded({tag: raw(tag, vr, value)})
    assert written[header:] == value
    assert written[:6] == b"\x09\x00\x10\x10" + vr.encode("ascii")


def test_an_ambiguous_representation_is_refused() -> None:
    ds = Dataset()
    ds.PixelPaddingValue = 0
    with pytest.raises(ValueError, match="ambiguous VR"):
        encoded(elements_of(ds))
