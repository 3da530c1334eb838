"""The walker over raw elements agrees with pydicom, and nothing that a peer sends makes it raise or hang."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tests.builders import ct_series, part10
from triage.dicom import tags
from triage.dicom.elements import UNDEFINED_LENGTH, read_elements
from triage.domain.errors import UnreadableInstance

SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def one_slice(syntax: str = ExplicitVRLittleEndian) -> Dataset:
    return ct_series(1, transfer_syntax=syntax)[0]


def without_meta(content: bytes) -> bytes:
    return content[144 + int.from_bytes(content[140:144], "little") :]


def test_the_tags_are_those_of_the_dictionary() -> None:
    assert len(tags.ALL) > 40
    assert len(tags.SEQUENCES) == 8
    for tag in tags.ALL:
        is_sequence = pydicom.datadict.dictionary_VR(tag) == "SQ"
        assert is_sequence == (tag in tags.SEQUENCES)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_every_uncompressed_syntax_reads_the_same(syntax: str) -> None:
    ds = one_slice(syntax)
    raw = read_elements(part10(ds))
    assert raw.transfer_syntax_uid == syntax
    assert raw.little_endian == (syntax != ExplicitVRBigEndian)
    assert raw.elements[tags.SOP_INSTANCE_UID].strip(b"\0").decode() == ds.SOPInstanceUID
    assert raw.elements[tags.PIXEL_SPACING].strip() == b"4.0\\4.0"
    assert raw.pixel_length == 64 * 64 * 2
    assert raw.pixel_offset is not None
    assert raw.content[raw.pixel_offset : raw.pixel_offset + raw.pixel_length] == ds.PixelData


@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda uid: uid.name)
def test_without_preamble_or_meta_the_coding_is_told_from_the_first_element(syntax: str) -> None:
    content = part10(one_slice(syntax))
    whole = read_elements(content).elements
    assert read_elements(content[128 + 4 :]).elements == whole
    bare = read_elements(without_meta(content))
    assert bare.elements == whole
    assert bare.transfer_syntax_uid == syntax


def test_a_dataset_that_is_implicit_whatever_its_meta_says() -> None:
    ds = one_slice(ImplicitVRLittleEndian)
    explicit = part10(one_slice())
    body = without_meta(part10(ds))
    content = explicit[: len(explicit) - len(without_meta(explicit))] + body
    assert read_elements(content).elements == read_elements(body).elements


def test_one_implicit_element_in_an_explicit_dataset() -> None:
    content = part10(one_slice())
    at = content.index(b"\x08\x00\x60\x00CS\x02\x00CT")
    content = content[:at] + b"\x08\x00\x60\x00\x02\x00\x00\x00CT" + content[at + 10 :]
    elements = read_elements(content).elements
    assert elements[tags.MODALITY] == b"CT"
    assert tags.ROWS in elements


def test_undefined_lengths_and_nested_items_are_stepped_over() -> None:
    ds = one_slice()
    inner = Dataset()
    inner.Manufacturer, inner.Rows = "NESTED", 7
    inner.PixelData = b"\0\0"
    inner["PixelData"].VR = "OW"
    outer = Dataset()
    outer.ReferencedImageSequence = [inner, inner]
    ds.IconImageSequence = [inner]
    ds.ReferencedStudySequence = [outer, outer]
    for sequence in (ds["IconImageSequence"], ds["ReferencedStudySequence"]):
        sequence.is_undefined_length = True
        for item in sequence.value:
            item.is_undefined_length_sequence_item = True
    elements = read_elements(part10(ds)).elements
    assert elements[tags.MANUFACTURER].strip() == b"SYNTHETIC"
    assert elements[tags.ROWS] == b"\x40\x00"


def test_encapsulated_pixels_have_undefined_length() -> None:
    ds = ct_series(1, transfer_syntax="1.2.840.10008.1.2.5")[0]
    assert read_elements(part10(ds)).pixel_length == UNDEFINED_LENGTH


def test_empty_pixel_data_is_no_pixel_data() -> None:
    ds = one_slice()
    ds.PixelData = b""
    assert read_elements(part10(ds)).pixel_offset is None


def test_sequences_nested_without_end_stop_the_walk_and_not_the_process() -> None:
    deep = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000
    content = b"\x08\x00\x16\x00UI\x04\x001.2\0" + deep
    assert read_elements(content).elements == {tags.SOP_CLASS_UID: b"1.2\0"}


def test_a_damaged_deflated_dataset_is_unreadable() -> None:
    content = part10(one_slice(DeflatedExplicitVRLittleEndian))
    body = 144 + int.from_bytes(content[140:144], "little")
    with pytest.raises(UnreadableInstance, match="inflated"):
        read_elements(content[:body] + b"\xff" + content[body + 1 :])  # a block of type 3, which there is not


def test_a_deflated_bomb_is_inflated_only_as_far_as_a_header_reaches() -> None:
    ds = one_slice(DeflatedExplicitVRLittleEndian)
    content = part10(ds)
    meta = content[: 144 + int.from_bytes(content[140:144], "little")]
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    plain = without_meta(part10(one_slice()))
    bomb = squeeze.compress(plain + bytes(64 * 1024 * 1024)) + squeeze.flush()
    raw = read_elements(meta + bomb)
    assert len(raw.content) == 8 * 1024 * 1024
    assert tags.SOP_INSTANCE_UID in raw.elements


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(128) + b"DICM", bytes(128) + b"DICM\x02\0\0\0UL"])
def test_too_few_bytes_are_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableInstance, match="no dataset"):
        read_elements(content)


@given(st.binary(max_size=400), st.integers(0, 9000))
def test_no_bytes_raise_anything_else(noise: bytes, cut: int) -> None:
    content = bytearray(_A_SLICE)
    content[cut : cut + len(noise)] = noise
    for damaged in (noise, bytes(128) + b"DICM" + noise, bytes(content), _A_SLICE[:cut]):
        try:
            read_elements(damaged)
        except UnreadableInstance:
            continue


_A_SLICE = part10(one_slice())
FOREIGN = sorted(
    file for file in (Path(pydicom.__file__).parent / "data/test_files").glob("*.dcm") if "693_" not in file.name
)


@pytest.mark.parametrize("file", FOREIGN, ids=lambda file: file.name)
def test_agrees_with_pydicom_on_the_files_of_its_test_suite(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ds = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            said = {tag: ds.get_item(tag) for tag in tags.ALL - tags.SEQUENCES if tag in ds}
        except (EOFError, AttributeError) as exc:
            pytest.skip(f"pydicom cannot read it: {exc}")
    read = read_elements(file.read_bytes()).elements
    assert set(said) == {tag for tag, value in read.items() if isinstance(value, bytes)}
    for tag, element in said.items():
        if isinstance(element, pydicom.dataelem.RawDataElement):
            assert read[tag] == (element.value or b"")
