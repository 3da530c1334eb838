"""Independent programs judge the other segmentations, the pages and the outlines, on every kind of source."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.builders import ct_series, enhanced_ct, part10
from tests.cases import CASES
from tests.results import Analysed, analysed, dataset
from tests.services import OrthancServer, Programs
from triage.dicom.codes import SUBTYPE_CODES
from triage.dicom.presentation_state import encode_presentation_state
from triage.dicom.secondary_capture import encode_secondary_capture
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.finding import KINDS, Subtype
from triage.domain.key_slices import key_slices
from triage.net.part10 import dataset_offset
from triage.net.scu import OutgoingInstance, RemoteAe, send


def without_descriptions(_: Path) -> Analysed:
    absent = {"StudyDescription": None, "SeriesDescription": None, "BodyPartExamined": None, "ProtocolName": None}
    return analysed([part10(ds) for ds in ct_series(9, **absent)])


def with_empty_values(_: Path) -> Analysed:
    empty = dict.fromkeys(("StudyDescription", "BodyPartExamined", "PatientID", "StudyID", "StudyDate"), "")
    return analysed([part10(ds) for ds in ct_series(9, **empty)])


def oblong(_: Path) -> Analysed:
    return analysed([part10(ds) for ds in ct_series(9, rows=48, columns=64, PixelSpacing=[4.0, 2.0])])


def several_volumes(_: Path) -> Analysed:
    """Two multi-frame instances, one after the other."""
    lower, upper = ct_series(18)[:9], ct_series(18)[9:]
    for ds in upper:
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(ds, keyword, lower[0][keyword].value)
    one, other = enhanced_ct(lower), enhanced_ct(upper)
    other.SeriesInstanceUID, other.InstanceNumber = one.SeriesInstanceUID, 2
    return analysed([part10(one), part10(other)])


SOURCES: dict[str, Callable[[Path], Analysed]] = {
    **CASES,
    "without descriptions": without_descriptions,
    "empty values": with_empty_values,
    "oblong pixels": oblong,
    "two multi-frame instances": several_volumes,
}


def probabilities(case: Analysed) -> dict[Subtype, NDArray[np.uint8]]:
    return {s: np.where(case.labels == i, 200, 0).astype(np.uint8) for i, s in enumerate(KINDS, start=1)}


def slices_of(case: Analysed) -> tuple[int, ...]:
    return key_slices(case.labels, case.volume, case.result)


def pages(case: Analysed) -> list[EncodedObject]:
    return encode_secondary_capture(
        case.contents, case.volume, case.labels, slices_of(case), case.result, case.provenance
    )


def outlines(case: Analysed) -> EncodedObject:
    return encode_presentation_state(
        case.contents, case.volume, case.labels, slices_of(case), case.result, case.provenance
    )


def pictures(case: Analysed) -> list[EncodedObject]:
    """All that the independent programs know: not the label map."""
    objects = pages(case)
    if case.labels.any():
        objects.append(case.seg(kind=ObjectKind.SEG_FRACTIONAL, probabilities=probabilities(case)))
    if slices_of(case):
        objects.append(outlines(case))
    return objects


def write(contents: Sequence[bytes], folder: Path, prefix: str) -> list[Path]:
    files = [folder / f"{prefix}{number:03}.dcm" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files


@pytest.fixture(params=SOURCES)
def case(request: pytest.FixtureRequest, shared_data: Path) -> Analysed:
    return SOURCES[request.param](shared_data)


def test_pictures_conform_and_agree_with_their_source(
    case: Analysed, dicom3tools: Programs, dcmtk: Programs, tmp_path: Path
) -> None:
    made = write([one.content for one in pictures(case)], tmp_path, "made")
    for file in made:
        assert dicom3tools.conformance_errors(file) == []
        assert dcmtk.run("dcmdump", "-q", file).returncode == 0
    entities = dicom3tools.run("dcentvfy", *write(case.contents, tmp_path, "source"), *made)
    assert entities.returncode == 0
    assert not [line for line in (entities.stdout + entities.stderr).splitlines() if line.startswith("Error")]


def test_volumes_read_back_are_those_of_the_result(case: Analysed) -> None:
    """As highdicom reads them, by source frame; the label map is known to no other program here."""
    if not case.labels.any():
        with pytest.raises(ValueError, match="without any segment"):
            case.seg(kind=ObjectKind.SEG_LABELMAP)
        return
    for kind in (ObjectKind.SEG, ObjectKind.SEG_LABELMAP):
        seg = hd.seg.segread(io.BytesIO(case.seg(kind=kind).content))
        found = {seg.get_segment_description(n).segment_label[:3]: n for n in seg.segment_numbers}
        for subtype in KINDS:
            mask = np.zeros(case.labels.shape, dtype=np.bool_)
            if subtype.value in found:
                mask = planes(seg, case, found[subtype.value])
            assert case.volume.mask_ml(mask) == pytest.approx(case.result.volume_ml(subtype), rel=1e-9)


def planes(seg: hd.seg.Segmentation, case: Analysed, number: int) -> NDArray[np.bool_]:
    """The mask of one segment on the slices of the case, instance by instance of its source."""
    options = {"segment_numbers": [number], "assert_missing_frames_are_empty": True}
    mask = np.zeros(case.labels.shape, dtype=np.bool_)
    uids = [s.sop_instance_uid for s in case.volume.sources]
    if len(set(uids)) == len(uids):
        return np.asarray(seg.get_pixels_by_source_instance(uids, **options)[..., 0] > 0)
    for uid in dict.fromkeys(uids):
        indices = [index for index, one in enumerate(uids) if one == uid]
        frames = [case.volume.sources[index].frame_number for index in indices]
        mask[indices] = seg.get_pixels_by_source_frame(uid, frames, **options)[..., 0] > 0
    return mask


def test_dcmtk_decodes_the_pages_to_the_same_pixels(dcmtk: Programs, tmp_path: Path) -> None:
    case = analysed(subtypes=[Subtype.IPH, Subtype.SDH])
    objects = pages(case)
    assert len(objects) > 1
    for number, (file, one) in enumerate(
        zip(write([o.content for o in objects], tmp_path, "sc"), objects, strict=True)
    ):
        plain, picture = tmp_path / f"plain{number}.dcm", tmp_path / f"picture{number}.ppm"
        assert dcmtk.run("dcmdrle", file, plain).returncode == 0
        drawn = dcmtk.run("dcm2pnm", plain, picture)
        assert drawn.returncode == 0, drawn.stderr
        np.testing.assert_array_equal(np.asarray(Image.open(picture)), dataset(one).pixel_array)


def test_a_page_shows_each_subtype_in_its_colour_as_dcmtk_draws_it(dcmtk: Programs, tmp_path: Path) -> None:
    case = analysed(subtypes=[Subtype.IVH])
    (file,) = write([pages(case)[1].content], tmp_path, "sc")
    dcmtk.run("dcmdrle", file, tmp_path / "plain.dcm")
    dcmtk.run("dcm2pnm", tmp_path / "plain.dcm", tmp_path / "page.ppm")
    rgb = np.asarray(Image.open(tmp_path / "page.ppm"))
    of_colour = {s: int((rgb == SUBTYPE_CODES[s].colour).all(axis=2).sum()) for s in KINDS}
    assert of_colour.pop(Subtype.IVH) > 500
    assert not any(of_colour.values())


def test_dcmtk_applies_the_outlines_to_a_source_slice(dcmtk: Programs, tmp_path: Path) -> None:
    case = analysed(subtypes=[Subtype.IPH])
    (state,) = write([outlines(case).content], tmp_path, "state")
    key = case.volume.sources[slices_of(case)[0]].sop_instance_uid
    (image,) = (file for file in write(case.contents, tmp_path, "source") if dataset_uid(file) == key)
    applied = dcmtk.run("dcmp2pgm", "-p", state, image, tmp_path / "shown.pgm")
    assert applied.returncode == 0, applied.stderr
    shown = np.asarray(Image.open(tmp_path / "shown.pgm")).astype(int)
    hu = case.volume.hu[slices_of(case)[0]]
    expected = np.clip(hu / 80, 0, 1) * 255  # the brain window, from 0 to 80 HU
    assert np.abs(shown - expected).max() <= 4


def dataset_uid(file: Path) -> str:
    return str(dataset(EncodedObject(ObjectKind.SC, "", "", "", "", file.read_bytes())).SOPInstanceUID)


def test_an_archive_keeps_every_kind_as_it_was_sent(orthanc: OrthancServer) -> None:
    case = analysed()
    objects = [*pictures(case), case.seg(kind=ObjectKind.SEG_LABELMAP)]
    remote = RemoteAe(orthanc.ae_title, orthanc.host, orthanc.dicom_port)
    outcomes = send(remote, [_outgoing(one) for one in objects])
    assert [(outcome.error, outcome.status) for outcome in outcomes] == [(None, 0)] * len(objects)
    for one in objects:
        kept = orthanc.retrieve(str(dataset(one).StudyInstanceUID), one.series_instance_uid, one.sop_instance_uid)
        assert kept[dataset_offset(kept) :] == one.content[dataset_offset(one.content) :]


def _outgoing(one: EncodedObject) -> OutgoingInstance:
    return OutgoingInstance(one.sop_class_uid, one.sop_instance_uid, one.transfer_syntax_uid, lambda: one.content)


def test_an_undecided_suspicion_still_has_its_pages(dicom3tools: Programs, tmp_path: Path) -> None:
    case = analysed(subtypes=[Subtype.SAH])
    bare = replace(case, labels=np.zeros_like(case.labels))
    objects = [*pages(bare), outlines(bare)]
    assert len(objects) == 3
    for file in write([one.content for one in objects], tmp_path, "made"):
        assert dicom3tools.conformance_errors(file) == []
