import io

import pydicom
import pytest

from tests.builders import ct_series, part10
from triage.domain.errors import UnreadableInstance
from triage.net.contexts import IMPLEMENTATION_CLASS_UID
from triage.net.part10 import dataset_offset, file_meta

CT, INSTANCE, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "2.25.12345", "1.2.840.10008.1.2.1"


@pytest.mark.parametrize("instance", ["2.25.1", "2.25.12", "1." * 31 + "1", "1." * 31 + "10"])
def test_the_file_meta_reads_back(instance):
    ds = pydicom.dcmread(io.BytesIO(file_meta(CT, instance, EXPLICIT)))

    assert ds.file_meta.MediaStorageSOPClassUID == CT
    assert ds.file_meta.MediaStorageSOPInstanceUID == instance
    assert ds.file_meta.TransferSyntaxUID == EXPLICIT
    assert ds.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert ds.file_meta.ImplementationVersionName == "ICHTRIAGE"
    assert ds.file_meta.FileMetaInformationVersion == b"\x00\x01"


def test_the_group_length_is_right():
    meta = file_meta(CT, INSTANCE, EXPLICIT)

    assert int.from_bytes(meta[140:144], "little") == len(meta) - 144


def test_the_same_uids_make_the_same_bytes():
    assert file_meta(CT, INSTANCE, EXPLICIT) == file_meta(CT, INSTANCE, EXPLICIT)


def test_our_uid_is_a_valid_one():
    assert pydicom.uid.UID(IMPLEMENTATION_CLASS_UID).is_valid


def test_the_offset_of_our_own_meta_is_its_length():
    meta = file_meta(CT, INSTANCE, EXPLICIT)

    assert dataset_offset(meta + b"\x08\x00data") == len(meta)


def test_the_offset_of_a_file_that_pydicom_wrote():
    content = part10(ct_series(1)[0])

    ds = pydicom.dcmread(io.BytesIO(content[dataset_offset(content) :]), force=True)

    assert ds.SOPClassUID == CT


def test_a_wrong_group_length_does_not_mislead():
    meta = bytearray(file_meta(CT, INSTANCE, EXPLICIT))
    meta[140:144] = (7).to_bytes(4, "little")

    assert dataset_offset(bytes(meta) + b"\x08\x00data") == len(meta)


def test_a_missing_group_length_does_not_matter():
    meta = file_meta(CT, INSTANCE, EXPLICIT)
    without = meta[:132] + meta[144:]

    assert dataset_offset(without + b"\x08\x00data") == len(without)


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(200), bytes(128) + b"DICN" + bytes(50)])
def test_a_file_without_prefix_is_refused(content):
    with pytest.raises(UnreadableInstance, match="no DICM prefix"):
        dataset_offset(content)


@pytest.mark.parametrize("cut", [132, 140, 144, 150, 200, None])
def test_a_file_that_ends_in_its_meta_is_refused(cut):
    with pytest.raises(UnreadableInstance, match="ends before its data set"):
        dataset_offset(file_meta(CT, INSTANCE, EXPLICIT)[:cut])


def test_real_files_hold_a_data_set_where_we_say(shared_data):
    folder = shared_data / "mr_mosaic_transfer_syntaxes"
    seen = 0
    for path in sorted(folder.rglob("*.dcm")):
        content = path.read_bytes()
        assert content[dataset_offset(content) :][:2] in {b"\x08\x00", b"\x00\x08"} or b"deflate" in path.name.encode()
        seen += 1
    assert seen
