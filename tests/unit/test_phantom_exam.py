"""Whole exams: geometry, truth in ml, defects, DICOM that validates and reads back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO

from tests.services import Programs
from trainer.phantom.command import phantom_command
from trainer.phantom.conditions import Condition
from trainer.phantom.dicom import study_instances, study_uids
from trainer.phantom.exam import DEFECTS, PhantomStudy, ScanGeometry, stands_out, study
from trainer.phantom.ingredients import Ingredient
from trainer.phantom.scene import Cut
from trainer.phantom.tissue import draw_tissue
from trainer.phantom.writing import StudyPlan, write_studies
from triage.dicom.header import read_header
from triage.dicom.select import exclusion
from triage.dicom.volume import read_volume
from triage.domain.errors import UnusableSeries
from triage.domain.finding import SUBTYPES, ReasonCode, Subtype, WorklistStatus
from triage.inference.plausible import check_living_head

SMALL = ScanGeometry(slice_count=30, matrix=128, spacing_mm=1.9)


def _voxel_ml(made: PhantomStudy) -> float:
    return made.planes[0].spacing_mm ** 2 * made.planes[0].thickness_mm / 1000


@pytest.fixture(scope="module")
def positive() -> PhantomStudy:
    fine = ScanGeometry(slice_count=30, matrix=256, spacing_mm=0.95)
    return study(3, subtypes=(Subtype.IPH, Subtype.SDH), geometry=fine, minimum_ml=9.0)


@pytest.fixture(scope="module")
def negative() -> PhantomStudy:
    return study(4, status=WorklistStatus.NOT_SUSPECTED, geometry=SMALL)


def test_truth_volumes_agree_with_the_drawn_labels(positive: PhantomStudy) -> None:
    assert positive.subtypes == (Subtype.IPH, Subtype.SDH)
    for subtype in positive.subtypes:
        drawn = np.count_nonzero(positive.labels == SUBTYPES.index(subtype) + 1) * _voxel_ml(positive)
        assert positive.ml[subtype] >= 3.0
        # A voxel is labelled when more than half of it is blood: a thin layer of SDH loses its edges.
        assert 0.3 * positive.ml[subtype] < drawn < 1.1 * positive.ml[subtype]
        if subtype is Subtype.IPH:
            assert drawn == pytest.approx(positive.ml[subtype], rel=0.1)


def test_a_negative_exam_has_neither_labels_nor_volume(negative: PhantomStudy) -> None:
    assert not negative.labels.any()
    assert not any(negative.ml.values())
    assert negative.reason is None


def test_an_exam_is_the_same_for_the_same_seed(negative: PhantomStudy) -> None:
    again = study(4, status=WorklistStatus.NOT_SUSPECTED, geometry=SMALL)
    assert np.array_equal(again.hu, negative.hu)
    assert study_instances(again) == study_instances(negative)


def test_full_geometry_is_drawn_within_its_limits() -> None:
    made = study(6, status=WorklistStatus.NOT_SUSPECTED, geometry=ScanGeometry(matrix=64))
    assert 30 <= len(made.planes) <= 34
    assert 230 <= 64 * made.planes[0].spacing_mm <= 256


@pytest.mark.parametrize("made_by", ["procedural", "template"])
def test_made_heads_look_like_living_heads(made_by: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue("shared_data") / "ct_template" if made_by == "template" else None
    for seed, status in enumerate([WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED]):
        made = study(60 + seed, status=status, anatomy=folder, geometry=SMALL)
        check_living_head(read_volume(study_instances(made)))


def test_what_was_written_is_read_back(positive: PhantomStudy) -> None:
    contents = study_instances(positive)
    volume = read_volume(contents[::-1])
    assert np.array_equal(volume.hu, positive.hu.astype(np.float32))
    assert exclusion([read_header(content) for content in contents]) is None
    lesion = positive.labels == SUBTYPES.index(Subtype.IPH) + 1
    assert volume.mask_ml(lesion) == pytest.approx(np.count_nonzero(lesion) * _voxel_ml(positive), rel=1e-3)


def test_a_tilted_gantry_shears_the_slices() -> None:
    tilted = ScanGeometry(slice_count=20, matrix=64, spacing_mm=3.8, tilt_deg=18.0)
    made = study(8, status=WorklistStatus.NOT_SUSPECTED, geometry=tilted)
    volume = read_volume(study_instances(made))
    steps = np.diff(volume.positions_mm, axis=0)
    assert np.allclose(steps[:, 1], 0, atol=1e-3)
    assert volume.stack.distances_mm == pytest.approx(volume.stack.distances_mm[0] + 5.0 * np.arange(20), abs=1e-2)


def test_older_scanners_cut_the_base_thinner_than_the_vertex() -> None:
    uneven = ScanGeometry(slice_count=26, thickness_mm=7.0, base_thickness_mm=4.0, matrix=64, spacing_mm=3.8)
    made = study(8, subtypes=(Subtype.IPH,), geometry=uneven, minimum_ml=6.0)
    assert [plane.thickness_mm for plane in made.planes] == [4.0] * 13 + [7.0] * 13
    volume = read_volume(study_instances(made))
    steps = np.diff(volume.stack.distances_mm)
    assert steps == pytest.approx([4.0] * 12 + [5.5] + [7.0] * 12, abs=1e-2)
    ml = sum(
        np.count_nonzero(image) * plane.spacing_mm**2 * plane.thickness_mm / 1000
        for image, plane in zip(made.labels, made.planes, strict=True)
    )
    assert made.ml[Subtype.IPH] == pytest.approx(ml, rel=0.2)
    drawn = ScanGeometry(thickness_mm=8.0, base_thickness_mm=4.0, matrix=64)
    covered = sum(plane.thickness_mm for plane in study(6, status=WorklistStatus.NOT_SUSPECTED, geometry=drawn).planes)
    assert 145 <= covered <= 175


@pytest.mark.parametrize("reason", DEFECTS)
def test_a_defect_is_found_by_the_reading_room(reason: ReasonCode) -> None:
    geometry = ScanGeometry(slice_count=30, matrix=64, spacing_mm=3.8)
    made = study(9, status=WorklistStatus.NOT_ANALYSED, reason=reason, geometry=geometry)
    contents = study_instances(made)
    found = exclusion([read_header(content) for content in contents])
    assert made.reason is reason
    if found is None:
        with pytest.raises(UnusableSeries) as caught:
            read_volume(contents)
        assert caught.value.reason is reason
    else:
        assert found.reason is reason


def test_instances_say_that_they_are_synthetic_and_whose_they_are(positive: PhantomStudy) -> None:
    study_uid, series_uid = study_uids(positive, 12)
    for content in study_instances(positive, 12)[:2]:
        ds = dcmread(DicomBytesIO(content))
        assert (ds.StudyInstanceUID, ds.SeriesInstanceUID) == (study_uid, series_uid)
        assert str(ds.PatientName) == "SYNTHETIC^PHANTOM"
        assert ds.PatientID == "SYNTHETIC-3-12"
        assert "SYNTHETIC" in ds.StudyDescription
        assert "SYNTHETIC" in ds.SeriesDescription
        assert study_uid.startswith("2.25.")
    assert study_uids(positive, 12) != study_uids(positive, 13)


def test_instances_validate(positive: PhantomStudy, tmp_path: Path, dicom3tools: Programs) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(study_instances(positive)[7])
    assert dicom3tools.conformance_errors(path) == []


def test_a_reason_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="too_few_slices"):
        study(1, status=WorklistStatus.NOT_ANALYSED, reason=ReasonCode.TIMED_OUT)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"matrix": 100}, "matrix"),
        ({"matrix": 0}, "matrix"),
        ({"thickness_mm": 0.1}, "thick"),
        ({"base_thickness_mm": 12.0}, "thick"),
        ({"tilt_deg": 45.0}, "tilted"),
        ({"slice_count": 0}, "at least one slice"),
        ({"spacing_mm": -0.5}, "pixels"),
    ],
)
def test_impossible_geometry_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ScanGeometry(**wrong)  # type: ignore[arg-type]


def test_a_subtype_without_a_shape_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="no bleed can be made as ICH"):
        study(1, subtypes=(Subtype.ICH,), geometry=SMALL)


def test_blood_that_never_shows_is_an_error_and_no_quiet_negative() -> None:
    with pytest.raises(ValueError, match="seed 3 shows no"):
        study(3, geometry=ScanGeometry(slice_count=8, matrix=64, spacing_mm=3.8), minimum_ml=5000.0)


@pytest.mark.parametrize(
    ("subtype", "hu", "seen"),
    [
        (Subtype.IPH, 50.0, True),
        (Subtype.IPH, 40.0, False),
        (Subtype.IPH, 33.0, False),
        (Subtype.SDH, 18.0, True),
        (Subtype.SAH, 47.0, True),
        (Subtype.SAH, 40.0, False),
        (Subtype.SAH, 12.0, False),
        (Subtype.IVH, 40.0, True),
        (Subtype.IVH, 10.0, False),
    ],
)
def test_blood_as_dense_as_what_lies_beside_it_is_not_seen(subtype: Subtype, hu: float, seen: bool) -> None:
    tissue = replace(draw_tissue(np.random.default_rng(1)), white=29.0, grey=38.0, fluid=7.0)
    blood = np.zeros((5, 1, 3), np.float32)
    blood[SUBTYPES.index(subtype)] = [[0.0, 0.5, 0.51]]
    nothing = np.zeros((1, 3), np.float32)
    ideal = Cut(np.full((1, 3), hu, np.float32), nothing, nothing, blood)
    np.testing.assert_array_equal(stands_out(ideal, tissue), [[False, False, seen]])


def test_a_positive_exam_shows_blood_that_a_reader_could_see() -> None:
    """The first head of this seed has 14 ml of 39 HU in cerebellum about as dense: it is drawn anew."""
    made = study(7000162, geometry=SMALL)
    hu = np.median(made.hu[made.labels > 0])
    assert hu > 46 or hu < 21


def test_written_exams_carry_their_truth(tmp_path: Path) -> None:
    plan = StudyPlan(geometry=ScanGeometry(slice_count=24, matrix=64, spacing_mm=3.8))
    statuses = [WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED, WorklistStatus.NOT_ANALYSED]
    seen: list[Path] = []
    truth_path = write_studies(
        tmp_path, 3, 5, statuses=statuses, plan=plan, masks=True, on_written=lambda made, folder: seen.append(folder)
    )
    rows = json.loads(truth_path.read_text())
    assert [row["status"] for row in rows] == ["suspected", "not_suspected", "not_analysed"]
    assert [row["reason"] for row in rows] == [None, None, "gap"]
    assert [folder.name for folder in seen] == [row["folder"] for row in rows]
    for row in rows:
        files = sorted((tmp_path / row["folder"]).glob("*.dcm"))
        headers = [read_header(path.read_bytes()) for path in files]
        labels = np.load(tmp_path / f"{row['folder']}.npz")["labels"]
        assert {header.study_instance_uid for header in headers} == {row["study_instance_uid"]}
        assert {header.series_instance_uid for header in headers} == {row["series_instance_uid"]}
        assert labels.shape == (len(files), 64, 64)
        assert labels.any() == bool(row["subtypes"])
        assert sum(row["ml"].values()) > 0.9 or not row["subtypes"]


@pytest.mark.parametrize("left", ["truth.json", "study-0002.npz", "study-0001/0001.dcm"])
def test_two_runs_are_never_mixed(left: str, tmp_path: Path) -> None:
    """Nor with what a run left that broke off before it wrote its truth."""
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).write_bytes(b"")
    with pytest.raises(FileExistsError, match="empty folder"):
        write_studies(tmp_path, 1, 1)


@pytest.mark.parametrize("studies", [0, 10_000])
def test_seeds_of_one_run_never_reach_those_of_the_next(studies: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 to 9999 studies"):
        write_studies(tmp_path, studies, 1)


def test_the_command_writes_and_reports(tmp_path: Path) -> None:
    arguments = [str(tmp_path / "heads"), "--studies", "2", "--matrix", "64", "--slices", "24", "--subtype", "IPH"]
    result = CliRunner().invoke(phantom_command, arguments)
    assert result.exit_code == 0, result.output
    assert "study-0001: suspected, 24 slices, IPH" in result.output
    assert "study-0002: not_suspected" in result.output


def test_the_command_makes_conditions_and_leaves_ingredients_out(tmp_path: Path) -> None:
    small = ["--studies", "1", "--matrix", "64", "--slices", "24", "--status", "not_suspected"]
    changed = ["--condition", "metal", "--without", "noise", "--base-thickness", "4"]
    for name, arguments in (("plain", small), ("changed", [*small, *changed])):
        result = CliRunner().invoke(phantom_command, [str(tmp_path / name), *arguments])
        assert result.exit_code == 0, result.output
    plain, altered = (dcmread(tmp_path / name / "study-0001" / "0002.dcm") for name in ("plain", "changed"))
    assert (float(plain.SliceThickness), float(altered.SliceThickness)) == (5.0, 4.0)
    assert plain.PixelData != altered.PixelData
    assert float(altered.ReconstructionDiameter) == pytest.approx(64 * float(altered.PixelSpacing[0]), abs=0.01)


def test_the_choices_of_the_command_are_those_of_the_generator() -> None:
    choices = {option.name: getattr(option.type, "choices", None) for option in phantom_command.params}
    assert list(choices["condition"]) == [condition.value for condition in Condition]
    assert list(choices["without"]) == [ingredient.value for ingredient in Ingredient]
    assert list(choices["reason"]) == [reason.value for reason in DEFECTS]
    assert set(choices["statuses"]) == {status.value for status in WorklistStatus} - {"pending"}
    assert list(choices["subtypes"]) == [subtype.value for subtype in SUBTYPES]  # ICH is blood of no shape of its own


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (["--matrix", "100"], "multiple of 32"),
        (["--anatomy", "."], "scct_hu_derived"),
        (["--subtype", "ICH"], "'ICH' is not one of"),
        (["--studies", "10000"], "10000 is not in the range"),
        (["--slices", "8", "--thickness", "0.5", "--matrix", "64", "--subtype", "EDH"], "more slices"),
    ],
)
def test_the_command_explains_a_mistake_in_one_sentence(mistake: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(phantom_command, [str(tmp_path / "heads"), *mistake])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert said in result.output


def test_making_heads_needs_neither_torch_nor_scipy_nor_nibabel() -> None:
    script = (
        "import sys\n"
        "from trainer.phantom.exam import ScanGeometry, study\n"
        "from trainer.phantom.stacks import stacks\n"
        "stacks(1, 1, slices=2, size=64, pixel_mm=4.0)\n"
        "study(1, geometry=ScanGeometry(slice_count=24, matrix=64, spacing_mm=3.8))\n"
        "loaded = {'torch', 'scipy', 'nibabel', 'onnxruntime'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
