"""CQ500 as it unpacks: how patients are named, which series is taken and why not another, what readers agree on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trees import found, read, said_of, write_rows
from tests.trees_cq500 import HEADER, PLAIN, THIN, Cq500Patient, Cq500Series, cq500_tree, reads_row, save_series
from trainer.datasets.case import NO_BLOOD, NOTHING_KNOWN, Case, Unusable
from trainer.datasets.cq500 import CQ500
from trainer.datasets.cq500_reads import PatientKey, patient_key, read_reads

NOBODY: tuple[tuple[str, ...], ...] = ((), (), ())


def patient(*series: Cq500Series, number: int = 1) -> Cq500Patient:
    return Cq500Patient(f"CQ500CT{number} CQ500CT{number}", f"CQ500-CT-{number}", NOBODY, series)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Case], list[Unusable]]:
    """What is found in the whole tree."""
    folder = tmp_path_factory.mktemp("cq500")
    return found(CQ500, cq500_tree(folder / "cq500"), folder)


def test_each_patient_is_one_series_with_what_two_of_three_readers_say(
    everything: tuple[list[Case], list[Unusable]],
) -> None:
    cases, _ = everything
    assert [(case.patient, case.study, len(case.slices), case.labels) for case in cases] == [
        ("CQ500-CT-12", "CQ500-CT-12", 24, (1, 0, 0, 0, 0, 1)),
        ("CQ500-CT-45", "CQ500-CT-45", 24, NO_BLOOD),
        ("CQ500-CT-45", "CQ500-CT-45-1", 24, (1, 0, 0, 1, 0, 0)),
        ("CQ500-CT-172", "CQ500-CT-172", 16, NO_BLOOD),
    ]
    assert [case.slices[0].image.parent.name for case in cases] == [
        "CT 5mm Plain",
        "CT_5mm_Plain",
        "CT PRE CONTRAST 5MM STD",
        "CT Plain-2",
    ]
    assert all(one.labels == NOTHING_KNOWN and one.mask is None for case in cases for one in case.slices)
    for case in cases:
        heights = [one.position_mm for one in case.slices]
        assert heights == sorted(heights)
        pixels = read(CQ500, case)
        assert {one.spacing_mm for one in pixels} == {(4.0, 4.0)}
        assert all(one.image.dtype == np.int16 and one.image.max() > 500 for one in pixels)


def test_every_other_series_is_named_with_the_reason(everything: tuple[list[Case], list[Unusable]]) -> None:
    _, unusable = everything
    said = said_of(unusable)
    assert len(said) == len(unusable) == 7
    for name, part in {
        "CT PLAIN THIN": "CT 5mm Plain was chosen (5.0 mm, kernel H30s, 24 slices, 120 mm), not this",
        "CT BONE": "its name speaks of bone",
        "CT POST CONTRAST": "its name speaks of contrast",
        "CT 4cc sec 150cc D3D on": "its name speaks of contrast",
        "CT 0.625mm": "its kernel is sharp",
        "CT 5mm": "The header names a contrast agent.",
        "CT Thin PLAIN": "Does not look like a living head",
    }.items():
        assert part in said[name], (name, said[name])


def test_slices_are_ordered_from_the_feet_up_whatever_files_are_called(tmp_path: Path) -> None:
    heights = np.roll(np.arange(24) * 5.0, 7)
    series = Cq500Series("CT Plain", {"heights_mm": heights})
    (case,), _ = found(CQ500, cq500_tree(tmp_path / "cq500", [patient(series)]), tmp_path)
    assert [one.position_mm for one in case.slices] == sorted(heights.tolist())
    assert [int(one.image.stem[2:]) for one in case.slices] == np.argsort(heights).tolist()


def test_a_series_whose_normal_points_to_the_feet_comes_from_the_feet_up_too(tmp_path: Path) -> None:
    series = Cq500Series("CT Plain", {"ImageOrientationPatient": [1, 0, 0, 0, -1, 0]})
    (case,), _ = found(CQ500, cq500_tree(tmp_path / "cq500", [patient(series)]), tmp_path)
    assert [one.image.stem for one in case.slices] == [f"CT{index:06d}" for index in range(24)]
    assert [one.position_mm for one in case.slices] == [5.0 * index for index in range(24)]


def test_a_thin_series_is_taken_where_the_thick_one_is_cut_short(tmp_path: Path) -> None:
    cut = Cq500Series(PLAIN.name, cut=[12])
    (case,), unusable = found(CQ500, cq500_tree(tmp_path / "cq500", [patient(cut, THIN)]), tmp_path)
    assert case.slices[0].image.parent.name == THIN.name
    assert len(case.slices) == 48
    said = said_of(unusable)
    assert said["CT000012.dcm"] == "its pixel data are cut short"
    assert "There is a gap of 10.0 mm" in said[PLAIN.name]


@pytest.mark.parametrize(
    ("series", "part"),
    [
        (Cq500Series("CT Plain", slices=12), "The slices cover 60 mm"),
        (Cq500Series("CT Plain", slices=5), "5 slices are fewer than the 8"),
        (Cq500Series("CT Plain", missing=[3, 4, 5]), "There is a gap of 20.0 mm"),
        (
            Cq500Series(
                "CT Plain",
                {"spacing_mm": 7.0, "BodyPartExamined": None, "StudyDescription": None, "ProtocolName": None},
            ),
            "A field of view of 448 mm",
        ),
        (Cq500Series("CT Chest Plain"), "its name speaks of another part of the body"),
        (Cq500Series("CT Plain", {"RescaleIntercept": None}), "no rescale"),
        (Cq500Series("CT Plain", {"SOPInstanceUID": "1.2.3"}), "several of its files are the same instance"),
        (Cq500Series("CT Plain", {"SeriesInstanceUID": None}), "Series Instance UID"),
    ],
)
def test_a_patient_without_a_usable_series_is_named(series: Cq500Series, part: str, tmp_path: Path) -> None:
    cases, unusable = found(
        CQ500, cq500_tree(tmp_path / "cq500", [patient(series), patient(PLAIN, number=2)]), tmp_path
    )
    assert [case.patient for case in cases] == ["CQ500-CT-2"]
    assert any(part in one.reason for one in unusable), unusable
    assert unusable[-1].reason == "no series of CQ500-CT-1 could be used"


def test_a_scout_among_the_slices_is_left_out_and_named(tmp_path: Path) -> None:
    def kind(index: int) -> list[str]:
        return ["ORIGINAL", "PRIMARY", "LOCALIZER" if index == 23 else "AXIAL"]

    series = Cq500Series("CT Plain", {"ImageType": kind})
    (case,), (one,) = found(CQ500, cq500_tree(tmp_path / "cq500", [patient(series)]), tmp_path)
    assert len(case.slices) == 23
    assert one.where.endswith("CT000023.dcm")
    assert "localizer" in one.reason


def test_names_and_rows_that_do_not_fit_are_named(tmp_path: Path) -> None:
    root = cq500_tree(tmp_path / "cq500", [patient(PLAIN)])
    rows = [
        reads_row("CQ500-CT-2", NOBODY),
        reads_row("Total", NOBODY),
        reads_row("CQ500-CT-1", (("SDH",), ("SDH",), ())),
        ["", ""],
    ]
    write_rows(root / "reads.csv", HEADER, rows)
    save_series(root / "CQ500CT3_CQ500CT3" / "Unknown Study" / "CT Plain", PLAIN)
    save_series(root / "CQ500-CT-3" / "CQ500CT3 CQ500CT3" / "CT Plain", PLAIN)
    (root / "CQ500CT1 CQ500CT1" / "Unknown Study" / PLAIN.name / "CT000099.dcm").write_bytes(b"nothing")
    cases, unusable = found(CQ500, root, tmp_path)
    assert [(case.patient, case.labels) for case in cases] == [
        ("CQ500-CT-1", NOTHING_KNOWN),
        ("CQ500-CT-3", NOTHING_KNOWN),
    ]
    said = [f"{Path(one.where).name}: {one.reason}" for one in unusable]
    for part in (
        "reads.csv, line 3: 'Total' is the name of no patient",
        "reads.csv, line 4: labels name a subtype of blood that is said to be absent",
        "reads.csv: it speaks of CQ500-CT-2, of whom there is no folder",
        "reads.csv: it says nothing of CQ500-CT-3",
        "CQ500CT3_CQ500CT3: it is CQ500-CT-3 again, which was read from CQ500-CT-3",
        "CT000099.dcm: it is no DICOM file",
    ):
        assert any(line.startswith(part) for line in said), (part, said)
    assert len(said) == 6


def test_a_file_that_is_damaged_later_is_named_alone(tmp_path: Path) -> None:
    (case,), _ = found(CQ500, cq500_tree(tmp_path / "cq500", [patient(PLAIN)]), tmp_path)
    case.slices[3].image.write_bytes(b"nothing")
    slices = list(CQ500.read(case))
    assert [place for place, one in enumerate(slices) if isinstance(one, Unusable)] == [3]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("CQ500-CT-0", PatientKey(0)),
        ("CQ500CT12 CQ500CT12", PatientKey(12)),
        ("CQ500CT12_CQ500CT12", PatientKey(12)),
        ("CQ500_CT_12", PatientKey(12)),
        ("CQ500-CT-12", PatientKey(12)),
        ("CQ500CT45-1 CQ500CT45-1", PatientKey(45, "1")),
        ("CQ500-CT-45-A", PatientKey(45, "A")),
        ("Unknown Study", None),
        ("CQ500", None),
    ],
)
def test_patients_have_many_ways_of_being_written(name: str, key: PatientKey | None) -> None:
    assert patient_key(name) == key


@pytest.mark.parametrize(
    ("cells", "said"),
    [(("1", "1", "0"), 1), (("0", "1", "0"), 0), (("1", "", "0"), -1), (("1", "1", ""), 1), (("", "", ""), -1)],
)
def test_two_readers_of_three_decide(cells: tuple[str, str, str], said: int, tmp_path: Path) -> None:
    row = reads_row("CQ500-CT-1", NOBODY)
    row[2], row[16], row[30] = cells
    write_rows(tmp_path / "reads.csv", HEADER, [row])
    assert read_reads(tmp_path / "reads.csv").labels[PatientKey(1)] == (said, 0, 0, 0, 0, 0)


def test_a_wrong_folder_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "reads.csv").write_text("name\n")
    for root in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"expected reads\.csv and 'CQ500CTN CQ500CTN/Unknown Study/<series>/"):
            list(CQ500.find(root, tmp_path, print))


def test_a_table_without_a_column_is_refused(tmp_path: Path) -> None:
    root = cq500_tree(tmp_path / "cq500", [patient(PLAIN)])
    write_rows(root / "reads.csv", HEADER.replace("R2:SAH", "R2:Other"), [])
    with pytest.raises(ValueError, match="has no column R2:SAH"):
        list(CQ500.find(root, tmp_path, print))
