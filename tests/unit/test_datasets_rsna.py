"""RSNA 2019 as it unpacks: names that are no UIDs, repeated rows, torn and constant files, values without a sign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trees import (
    RSNA_TRAIN,
    RsnaSlice,
    found,
    head,
    read,
    rsna_bytes,
    rsna_label_rows,
    rsna_pattern,
    rsna_tree,
    wrapped,
    write_rows,
)
from trainer.datasets.case import NO_BLOOD, NOTHING_KNOWN, SlicePixels, Unusable
from trainer.datasets.rsna import RSNA_2019

TABLE = "stage_2_train.csv"


def labelled(root: Path, *changes: tuple[int, str], more: tuple[tuple[str, str], ...] = ()) -> Path:
    """Write the label file again, some rows (from 0) with another value, and more rows at its end."""
    rows = [[str(cell) for cell in row] for row in rsna_label_rows(RSNA_TRAIN)]
    for row, value in changes:
        rows[row][1] = value
    write_rows(root / TABLE, "ID,Label", [*rows, *more], mark=False)
    return root


def said(unusable: list[Unusable]) -> list[str]:
    return [f"{Path(one.where).name}: {one.reason}" for one in unusable]


def test_slices_are_grouped_by_study_ordered_by_height_and_labelled(tmp_path: Path) -> None:
    cases, unusable = found(RSNA_2019, rsna_tree(tmp_path / "rsna"), tmp_path)
    assert unusable == []
    assert [(case.patient, case.study, [one.image.stem[-2:] for one in case.slices]) for case in cases] == [
        ("ID_pat_a", "ID_study_1", ["a1", "b2", "c3"]),
        ("ID_pat_a", "ID_study_3", ["e5"]),
        ("ID_pat_b", "ID_study_2", ["d4"]),
        ("ID_pat_c", "ID_study_4", ["f7", "f6"]),
    ]
    assert [one.position_mm for one in cases[0].slices] == [10.0, 15.0, 20.0]
    assert [one.labels for one in cases[0].slices] == [NO_BLOOD, (1, 1, 0, 0, 0, 1), (1, 1, 0, 0, 0, 0)]
    assert [case.labels for case in cases[:3]] == [(1, 1, 0, 0, 0, 1), (1, 0, 0, 1, 0, 0), NO_BLOOD]
    assert cases[3].labels == NOTHING_KNOWN, "the test part has no labels"
    assert all(one.mask is None for case in cases for one in case.slices)


def test_pixels_are_hu_although_the_names_are_no_uids(tmp_path: Path) -> None:
    cases, _ = found(RSNA_2019, rsna_tree(tmp_path / "rsna"), tmp_path)
    (lowest, _, _) = read(RSNA_2019, cases[0])
    np.testing.assert_array_equal(lowest.image, np.maximum(head(8, 1), -1024))
    assert lowest.spacing_mm == (4.0, 4.0)
    assert lowest.mask is None


def test_values_that_lost_their_sign_get_it_back(tmp_path: Path) -> None:
    root = rsna_tree(tmp_path / "rsna")
    hu = head(8, 3)
    hu[30:34, 30:34] = 2500  # metal stays
    file = root / "stage_2_train" / "ID_0000000a1.dcm"
    file.write_bytes(rsna_bytes(wrapped(rsna_pattern(), hu), RSNA_TRAIN[1]))
    cases, _ = found(RSNA_2019, root, tmp_path)
    np.testing.assert_array_equal(read(RSNA_2019, cases[0])[0].image, hu)


def test_padding_below_air_becomes_air(tmp_path: Path) -> None:
    root = rsna_tree(tmp_path / "rsna")
    pattern = rsna_pattern()
    stored = head(8, 3) + 1024
    stored[:5] = -2000
    pattern.PixelData = stored.astype("<i2").tobytes()
    (root / "stage_2_train" / "ID_0000000a1.dcm").write_bytes(rsna_bytes(pattern, RSNA_TRAIN[1]))
    cases, _ = found(RSNA_2019, root, tmp_path)
    image = read(RSNA_2019, cases[0])[0].image
    assert (image[:5] == -1024).all()
    np.testing.assert_array_equal(image[5:], head(8, 3)[5:])


def test_repeated_rows_count_once_wherever_they_stand(tmp_path: Path) -> None:
    first = [tuple(map(str, row)) for row in rsna_label_rows(RSNA_TRAIN[2:3])]
    root = labelled(rsna_tree(tmp_path / "rsna"), more=tuple(first))
    cases, unusable = found(RSNA_2019, root, tmp_path)
    assert said(unusable) == [f"{TABLE}: it repeats 6 rows of ID_0000000b2; each was used once"]
    assert cases[0].slices[1].labels == (1, 1, 0, 0, 0, 1)


def test_rows_that_contradict_each_other_leave_a_label_unknown(tmp_path: Path) -> None:
    tree = rsna_tree(tmp_path / "rsna")
    root = labelled(tree, (23, "1"), (11, "1"), more=(("ID_0000000b2_subdural", "0"), ("ID_0000000b2", "1")))
    cases, unusable = found(RSNA_2019, root, tmp_path)
    assert cases[0].slices[1].labels == (1, 1, 0, 0, 0, -1)
    assert cases[2].slices[0].labels == (1, 0, 0, 0, 0, 0), "any without a type"
    assert said(unusable) == [
        f"{TABLE}: rows of ID_0000000b2 contradict each other; the label stays unknown",
        f"{TABLE}, line 33: the row does not say ID_<image>_<type> and 0 or 1",
    ]
    odd = labelled(rsna_tree(tmp_path / "odd"), (5, "0"))
    (tmp_path / "work").mkdir()
    cases, unusable = found(RSNA_2019, odd, tmp_path / "work")
    assert cases[0].slices[2].labels == NOTHING_KNOWN
    assert said(unusable) == [
        f"{TABLE}: it names a type of blood and no blood for ID_0000000c3; its labels stay unknown"
    ]


def test_a_missing_row_leaves_its_label_unknown(tmp_path: Path) -> None:
    root = rsna_tree(tmp_path / "rsna")
    write_rows(root / TABLE, "ID,Label", rsna_label_rows(RSNA_TRAIN)[:-1], mark=False)
    cases, _ = found(RSNA_2019, root, tmp_path)
    assert cases[1].slices[0].labels == (-1, 0, 0, 1, 0, 0)


def test_every_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    extra = [RsnaSlice(f"ID_00000{k}", "ID_pat_z", "ID_study_z", float(k)) for k in range(1000, 1006)]
    root = rsna_tree(tmp_path / "rsna", [*RSNA_TRAIN, *extra])
    folder = root / "stage_2_train"
    files = [folder / f"{one.image}.dcm" for one in extra]
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-100])  # pixel data cut short
    files[1].write_bytes(b"not DICOM")
    files[2].unlink()
    files[3].write_bytes(b"")
    pattern = rsna_pattern()
    pattern.PixelData = bytes(len(pattern.PixelData))
    files[4].write_bytes(rsna_bytes(pattern, extra[4]))  # one value throughout
    files[5].write_bytes(rsna_bytes(rsna_pattern(), replace(extra[5], height_mm=None)))
    (folder / "desktop.ini").write_bytes(b"")
    cases, unusable = found(RSNA_2019, root, tmp_path)
    lines = said(unusable)
    assert lines[0] == "desktop.ini: its name is not that of a slice"
    assert lines[1] == "ID_000001002.dcm: it has labels, and the file is missing"
    assert lines[2] == "ID_000001000.dcm: its pixel data are cut short"
    assert lines[3].startswith("ID_000001001.dcm: it is no DICOM file")
    assert lines[4].startswith("ID_000001003.dcm: it is no DICOM file")
    assert lines[5] == "ID_000001005.dcm: it does not say where its slice lies"
    assert len(lines) == 6
    (constant,) = [case for case in cases if case.patient == "ID_pat_z"]
    (pixels,) = RSNA_2019.read(constant)
    assert isinstance(pixels, Unusable)
    assert pixels.reason == "every pixel has the same value, -1024 HU"
    assert len(cases) == 5


def test_a_study_of_two_patients_is_left_out(tmp_path: Path) -> None:
    train = [*RSNA_TRAIN, RsnaSlice("ID_0000000aa", "ID_pat_z", "ID_study_2", 7.0)]
    cases, unusable = found(RSNA_2019, rsna_tree(tmp_path / "rsna", train), tmp_path)
    assert "ID_study_2" not in {case.study for case in cases}
    assert [line.partition(": ")[2] for line in said(unusable)] == ["its study names several patients"] * 2


def test_the_training_part_alone_will_do_also_one_folder_down(tmp_path: Path) -> None:
    root = rsna_tree(tmp_path / "in" / "rsna-intracranial-hemorrhage-detection", test=())
    (root / "stage_2_test").rmdir()
    assert len(found(RSNA_2019, tmp_path / "in", tmp_path)[0]) == 3


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    root = rsna_tree(tmp_path / "rsna")
    before = found(RSNA_2019, root, tmp_path)
    for file in (root / "stage_2_train").iterdir():
        file.write_bytes(b"")
    assert found(RSNA_2019, root, tmp_path) == before


def test_a_file_that_changed_since_it_was_indexed_is_unusable_not_fatal(tmp_path: Path) -> None:
    root = rsna_tree(tmp_path / "rsna")
    cases, _ = found(RSNA_2019, root, tmp_path)
    whole = cases[0].slices[1].image.read_bytes()
    cases[0].slices[1].image.write_bytes(whole[:-2])
    cases[0].slices[2].image.unlink()
    kinds = [type(one) for one in RSNA_2019.read(cases[0])]
    assert kinds == [SlicePixels, Unusable, Unusable]


@pytest.mark.parametrize("what", ["nothing", "no files", "no such folder"])
def test_a_wrong_folder_is_told_what_was_expected(what: str, tmp_path: Path) -> None:
    root = tmp_path / "rsna"
    if what == "no files":
        rsna_tree(root, (), ())
    elif what == "nothing":
        root.mkdir()
    with pytest.raises(ValueError, match=r"expected stage_2_train\.csv, stage_2_train/ID_\*\.dcm"):
        list(RSNA_2019.find(root, tmp_path, lambda line: None))


def test_a_label_file_of_another_stage_is_refused(tmp_path: Path) -> None:
    root = rsna_tree(tmp_path / "rsna")
    (root / TABLE).write_text("filename,any\nID_1,0\n")
    with pytest.raises(ValueError, match=r"has the columns \['filename', 'any'\], not ID and Label"):
        list(RSNA_2019.find(root, tmp_path, lambda line: None))
