"""Reading and selecting on real files: every folder of the real inputs ends as it should."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.builders import ct_series, part10
from triage.dicom.header import is_candidate, read_header
from triage.dicom.select import exclusion, preference, usable
from triage.dicom.volume import read_volume
from triage.domain.completeness import is_gap_free
from triage.domain.errors import UnreadableInstance, UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.study import InstanceHeader


def contents(folder: Path, pattern: str = "*.dcm") -> list[bytes]:
    found = [file.read_bytes() for file in sorted(folder.glob(pattern))]
    assert found
    return found


def headers(given: list[bytes]) -> list[InstanceHeader]:
    return [read_header(content) for content in given]


@pytest.fixture
def head(shared_data: Path) -> list[bytes]:
    return contents(shared_data / "ge_head_tilt")


def test_the_real_head_is_analysed(head: list[bytes]) -> None:
    found = headers(head)
    assert all(map(is_candidate, found))
    assert exclusion(found) is None
    assert is_gap_free([frame for header in found for frame in header.frames])
    assert preference(found).sentence == "4.0-7.0 mm, kernel STD+, 28 slices, 150 mm"


def test_the_real_head_as_a_volume(head: list[bytes]) -> None:
    volume = read_volume(head)
    assert volume.hu.shape == (28, 512, 512)
    tilt = np.degrees(np.arccos(volume.stack.normal[2]))
    assert tilt == pytest.approx(18.5, abs=0.01)
    bed_steps = np.diff(volume.positions_mm[:, 2])
    np.testing.assert_allclose(bed_steps, [*[4.22] * 13, 1.14, *[7.38] * 13], atol=0.01)
    extents = volume.stack.extents_mm()
    np.testing.assert_allclose(extents[:13], 4.0, atol=0.01)
    np.testing.assert_allclose(extents[15:], 7.0, atol=0.01)
    assert extents[13] < 4.0
    assert extents[14] < 7.0
    # every millimetre once: the slices leave no room and take none twice
    assert extents.sum() == pytest.approx(volume.stack.coverage_mm, abs=0.1)
    assert volume.stack.coverage_mm == pytest.approx(149.6, abs=0.1)


def test_the_real_head_in_hu(head: list[bytes]) -> None:
    hu = read_volume(head).hu
    padding = float((hu == -1024).mean())
    assert hu.min() == -1024
    assert 0.23 < padding < 0.25  # -1500 outside the scan field
    brain = hu[:, 128:384, 128:384]
    brain = brain[(brain > 0) & (brain < 80)]
    assert 25 < np.median(brain) < 40
    assert 1500 < hu.max() < 3100


def test_the_order_of_files_changes_nothing(head: list[bytes]) -> None:
    expected = read_volume(head)
    for seed in (1, 2):
        random.Random(seed).shuffle(head)
        volume = read_volume(head)
        np.testing.assert_array_equal(volume.hu, expected.hu)
        assert volume.sources == expected.sources
        np.testing.assert_array_equal(volume.positions_mm, expected.positions_mm)


def test_the_volume_agrees_with_pydicom(head: list[bytes], shared_data: Path) -> None:
    volume = read_volume(head)
    slot = {source.sop_instance_uid: index for index, source in enumerate(volume.sources)}
    for file in sorted((shared_data / "ge_head_tilt").glob("*.dcm"))[::9]:
        ds = pydicom.dcmread(file)
        expected = np.maximum(ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept), -1024)
        np.testing.assert_array_equal(volume.hu[slot[ds.SOPInstanceUID]], expected)


@pytest.mark.parametrize(("missing", "reason"), [((10,), ReasonCode.GAP), ((20, 21), ReasonCode.GAP)])
def test_a_real_head_with_missing_slices_is_a_gap(
    head: list[bytes], missing: tuple[int, ...], reason: ReasonCode
) -> None:
    volume = read_volume(head)
    lost = {volume.sources[index].sop_instance_uid for index in missing}
    kept = [content for content in head if read_header(content).sop_instance_uid not in lost]
    found = exclusion(headers(kept))
    assert found is not None
    assert found.reason is reason
    with pytest.raises(UnusableSeries):
        read_volume(kept)


def test_the_plastic_head_is_read_and_left_to_the_pixels(shared_data: Path) -> None:
    given = contents(shared_data / "philips_head_phantom/S2010", "I*")
    assert exclusion(headers(given)) is None
    assert preference(headers(given)).sentence == "5.0 mm, kernel UB, 28 slices, 140 mm"
    volume = read_volume(given)
    assert volume.hu.shape == (28, 512, 512)
    assert volume.hu.min() == -1024


@pytest.mark.parametrize(
    ("folder", "pattern", "reason"),
    [
        ("philips_head_phantom/S1000", "I*", ReasonCode.LOCALIZER),
        ("philips_head_phantom/S4010", "I*", ReasonCode.DERIVED),
        ("clara_ct/full_patient_metadata", "*.dcm", ReasonCode.DERIVED),
        ("clara_ct/no_patient_metadata", "*.dcm", ReasonCode.DERIVED),
        ("clara_ct/null_patient_metadata", "*.dcm", ReasonCode.DERIVED),
        ("mr_mosaic_transfer_syntaxes", "*.dcm", ReasonCode.NOT_CT),
        ("odd_files", "CT_small.dcm", ReasonCode.CONTRAST),
        ("odd_files", "MR_*.dcm", ReasonCode.NOT_CT),
        ("odd_files", "reportsi.dcm", ReasonCode.NOT_CT),
        ("odd_files", "rtplan.dcm", ReasonCode.NOT_CT),
    ],
)
def test_what_is_no_plain_head_ct_has_its_reason(
    shared_data: Path, folder: str, pattern: str, reason: ReasonCode
) -> None:
    found = headers(contents(shared_data / folder, pattern))
    excluded = exclusion(found)
    assert excluded is not None
    assert excluded.reason is reason
    assert not any(map(is_candidate, found))
    assert not usable(found) or reason is ReasonCode.CONTRAST


def test_localizers_and_screens_sent_in_the_series_of_the_slices_are_set_aside(shared_data: Path) -> None:
    slices = headers(contents(shared_data / "philips_head_phantom/S2010", "I*"))
    odd = [h for s in ("S1000", "S4010") for h in headers(contents(shared_data / f"philips_head_phantom/{s}", "I*"))]
    assert usable([*odd, *slices]) == slices
    assert exclusion([*odd, *slices]) is None


def test_truncated_pixels_give_a_header_and_no_volume(shared_data: Path) -> None:
    (content,) = contents(shared_data / "odd_files", "MR_truncated.dcm")
    assert read_header(content).modality == "MR"
    with pytest.raises(UnusableSeries):
        read_volume([content])


def test_a_file_without_meta_and_without_its_first_byte_is_refused_in_a_sentence(shared_data: Path) -> None:
    (content,) = contents(shared_data / "odd_files", "no_meta.dcm")
    with pytest.raises(UnreadableInstance, match="cannot be filed"):
        read_header(content)
    # one stray byte before the dataset is all that is wrong with it
    assert read_header(content[1:]).modality == "CT"


def test_a_header_is_read_in_well_under_the_time_of_a_store(head: list[bytes]) -> None:
    best = min(_seconds(head) for _ in range(5))
    assert best / len(head) < 0.002  # 0.2 ms on an idle machine; the store itself takes 2


def _seconds(given: list[bytes]) -> float:
    began = time.process_time()
    headers(given)
    return time.process_time() - began


def test_a_thin_series_needs_one_volume_of_memory() -> None:
    series = ct_series(60, 256, 256, spacing_mm=1.0, thickness_mm=2.0, step_mm=2.0)
    given = [part10(ds) for ds in series]
    tracemalloc.start()
    try:
        volume = read_volume(given)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * volume.hu.nbytes
