"""Acceptance 4: the true mask of a made head, put through the daemon's own path, has the true volume.

Geometry only: no net takes part. The path is DICOM files -> volume in HU -> net raster and back -> SEG and SR
-> bytes -> what a reader measures.
"""

from __future__ import annotations

import io

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from tests.results import PROVENANCE, Analysed
from trainer.phantom.dicom import study_instances
from trainer.phantom.exam import PhantomStudy, ScanGeometry, study
from triage.dicom.volume import read_volume
from triage.domain.finding import SUBTYPES, DecisionRule, KeySlice, Subtype, SubtypeFinding, TriageResult
from triage.domain.volume import Volume
from triage.inference.preprocess import PreprocessSpec, from_raster, to_raster

pytestmark = pytest.mark.slow

TOLERANCE, TOLERANCE_ML = 0.10, 1.0
EXAMS = {
    "upright": ([Subtype.IPH, Subtype.EDH], ScanGeometry(slice_count=30, matrix=256, spacing_mm=0.96)),
    "tilted": ([Subtype.IPH, Subtype.IVH], ScanGeometry(slice_count=30, tilt_deg=18.5, matrix=256, spacing_mm=0.96)),
    "thin": ([Subtype.EDH], ScanGeometry(slice_count=64, thickness_mm=2.5, matrix=256, spacing_mm=0.96)),
}


@pytest.fixture(scope="module", params=EXAMS)
def exam(request: pytest.FixtureRequest) -> PhantomStudy:
    subtypes, geometry = EXAMS[request.param]
    return study(4711, subtypes=subtypes, geometry=geometry, minimum_ml=8.0)


def through_the_raster(labels: NDArray[np.uint8], volume: Volume, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Labels as they come back when the nets see nothing but the truth."""
    back = np.zeros_like(labels)
    for index, drawn in enumerate(labels):
        maps = np.stack([to_raster((drawn == i).astype(np.float32), volume.pixel_spacing_mm, spec) for i in range(6)])
        back[index] = from_raster(maps, drawn.shape, volume.pixel_spacing_mm, spec).argmax(axis=0)
    return back


def analysis_of(contents: list[bytes], volume: Volume, labels: NDArray[np.uint8]) -> Analysed:
    ml = {s: volume.mask_ml(labels == i + 1) for i, s in enumerate(SUBTYPES)}
    index = int((labels > 0).sum(axis=(1, 2)).argmax())
    source = volume.sources[index]
    result = TriageResult(
        score=0.99,
        rule=DecisionRule(suspected_at=0.5, emergent_at=0.9),
        subtypes={s: SubtypeFinding(0.9 if value else 0.1, value) for s, value in ml.items()},
        total_volume_ml=sum(ml.values()),
        key_slice=KeySlice(source.sop_instance_uid, source.frame_number, index),
        provisional=False,
    )
    return Analysed(contents, volume, labels, result, PROVENANCE)


def measured_ml(segmentation: bytes, volume: Volume) -> dict[str, float]:
    """What a reader of the SEG measures, slice by slice on the source images."""
    seg = hd.seg.segread(io.BytesIO(segmentation))
    uids = [s.sop_instance_uid for s in volume.sources]
    voxels = seg.get_pixels_by_source_instance(
        uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    counts = voxels.astype(bool).sum(axis=(1, 2))
    return {
        seg.get_segment_description(number).segment_label: float(counts[:, number - 1] @ volume.voxel_ml)
        for number in seg.segment_numbers
    }


def test_the_true_mask_has_the_true_volume(exam: PhantomStudy) -> None:
    contents = study_instances(exam)
    volume = read_volume(contents[::-1])
    labels = through_the_raster(exam.labels, volume, PreprocessSpec())
    made = analysis_of(contents, volume, labels)
    in_seg = measured_ml(made.seg().content, volume)
    in_sr = volumes_of_report(made.sr().content)
    true_ml = {s.value: value for s, value in exam.ml.items() if value > 0}
    assert true_ml
    # The report states each segment and their sum.
    assert sorted([*in_seg.values(), sum(in_seg.values())]) == pytest.approx(
        sorted(in_sr), abs=5e-4
    )  # written with four decimals
    for subtype, truth in true_ml.items():
        (found,) = [value for label, value in in_seg.items() if subtype in label]
        assert abs(found - truth) <= max(TOLERANCE * truth, TOLERANCE_ML), f"{subtype}: {found:.2f} of {truth:.2f} ml"


def volumes_of_report(content: bytes) -> list[float]:
    """Every volume in ml that the report states."""
    found: list[float] = []

    def visit(item: pydicom.Dataset) -> None:
        name = item.ConceptNameCodeSequence[0].CodeValue if "ConceptNameCodeSequence" in item else ""
        if name == "118565006":  # Volume
            found.append(float(item.MeasuredValueSequence[0].NumericValue))
        for child in item.get("ContentSequence", []):
            visit(child)

    visit(pydicom.dcmread(io.BytesIO(content)))
    return found
