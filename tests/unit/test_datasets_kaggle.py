"""The two Kaggle data sets of pictures: brackets in names, labels of patients, a header with a space, RGBA."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trees import found, read, said_of
from tests.trees_pictures import KITAMURA_LABELS, cyprus_tree, grey_head, kitamura_tree, save_picture
from trainer.datasets.case import NO_BLOOD, NOTHING_KNOWN, Unusable
from trainer.datasets.kaggle_cyprus import KAGGLE_CYPRUS
from trainer.datasets.kaggle_kitamura import KAGGLE_KITAMURA

BLOOD = (1, -1, -1, -1, -1, -1)


def test_patients_of_cyprus_are_labelled_and_their_slices_are_not(tmp_path: Path) -> None:
    cases, unusable = found(KAGGLE_CYPRUS, cyprus_tree(tmp_path / "kaggle"), tmp_path)
    assert unusable == []
    assert [(case.patient, case.study, len(case.slices), case.labels) for case in cases] == [
        ("7", "NORMAL/7[a]", 2, NO_BLOOD),
        ("n1", "NORMAL/N1[2 mm]", 3, NO_BLOOD),
        ("n2", "NORMAL/N2[5 mm]", 12, NO_BLOOD),
        ("n2", "NORMAL/N2[copy]", 2, NO_BLOOD),
        ("7", "KANAMA/7", 2, BLOOD),
        ("p1", "KANAMA/P1", 4, BLOOD),
        ("p2", "KANAMA/P2 [kontrol]", 3, BLOOD),
    ]
    assert all(one.labels == NOTHING_KNOWN for case in cases for one in case.slices)
    long = cases[2].slices
    assert [one.image.stem for one in long] == [str(number) for number in range(1, 13)], "10 comes after 9"
    assert [one.position_mm for one in long] == list(range(12))


def test_pictures_of_cyprus_are_grey_and_say_no_size(tmp_path: Path) -> None:
    cases, _ = found(KAGGLE_CYPRUS, cyprus_tree(tmp_path / "kaggle"), tmp_path)
    for case in cases:
        for pixels in read(KAGGLE_CYPRUS, case):
            assert pixels.image.dtype == np.uint8
            assert pixels.spacing_mm is None
            assert pixels.mask is None
    assert KAGGLE_CYPRUS.pictures
    assert KAGGLE_CYPRUS.window is None


def test_flat_pictures_of_cyprus_have_no_patient(tmp_path: Path) -> None:
    root = cyprus_tree(tmp_path / "kaggle", normal={}, flat=5)
    cases, (said,) = found(KAGGLE_CYPRUS, root, tmp_path)
    flat = [case for case in cases if case.labels == NO_BLOOD]
    assert [case.study for case in flat] == [f"NORMAL/slice{number}.jpg" for number in range(5)]
    assert all(case.patient is None for case in flat)
    assert all(case.patient is not None for case in cases if case not in flat)
    assert said.where.endswith("NORMAL")
    assert said.reason == "5 pictures lie in no patient's folder; no split can keep patients apart"


def test_every_file_of_cyprus_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    root = cyprus_tree(tmp_path / "kaggle")
    normal, bleeding = root / "Data" / "NORMAL", root / "Data" / "Hemorrhagic" / "KANAMA"
    (normal / "N1[2 mm]" / "Thumbs.db").write_bytes(b"")
    (normal / "N9[empty]").mkdir()
    save_picture(bleeding / "loose.jpg", grey_head(1))
    (bleeding / "P1" / "2.jpg").write_bytes((bleeding / "P1" / "2.jpg").read_bytes()[:400])
    inner = bleeding / "P3" / "again"
    inner.mkdir(parents=True)
    shutil.copy(bleeding / "P1" / "1.jpg", inner / "1.jpg")
    cases, unusable = found(KAGGLE_CYPRUS, root, tmp_path)
    assert [(case.patient, case.study) for case in cases][-1] == ("p3", "KANAMA/P3/again")
    assert said_of(unusable) == {
        "Thumbs.db": "it is no JPEG or PNG picture",
        "N9[empty]": "it holds no picture",
        "loose.jpg": "it lies in no patient's folder, and a slice alone may show no blood",
    }
    (damaged,) = (one for case in cases for one in KAGGLE_CYPRUS.read(case) if isinstance(one, Unusable))
    assert damaged.where.endswith("P1/2.jpg")
    assert damaged.reason.startswith("it cannot be read as a picture")


def test_pictures_of_kitamura_are_people_of_one_slice(tmp_path: Path) -> None:
    cases, unusable = found(KAGGLE_KITAMURA, kitamura_tree(tmp_path / "kaggle"), tmp_path)
    assert unusable == []
    assert [case.patient for case in cases] == [f"{number:03d}" for number in range(len(KITAMURA_LABELS))]
    for case, label in zip(cases, KITAMURA_LABELS, strict=True):
        assert case.slices[0].labels == case.labels == (BLOOD if label else NO_BLOOD)
        (pixels,) = read(KAGGLE_KITAMURA, case)
        number = int(case.study)
        expected = grey_head(number, 60 + 7 * number, 70 + 5 * number, bleeding=label == 1)
        np.testing.assert_array_equal(pixels.image, expected)


def test_kitamura_unpacked_once_will_do(tmp_path: Path) -> None:
    root = kitamura_tree(tmp_path / "kaggle")
    (root / "head_ct" / "head_ct").rename(root / "inner")
    (root / "head_ct").rmdir()
    (root / "inner").rename(root / "head_ct")
    assert len(found(KAGGLE_KITAMURA, root, tmp_path)[0]) == len(KITAMURA_LABELS)


def test_every_file_and_row_of_kitamura_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    root = kitamura_tree(tmp_path / "kaggle")
    pictures = root / "head_ct" / "head_ct"
    (pictures / "002.png").unlink()
    (pictures / "003.png").write_bytes(b"nothing")
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(pictures / "004.png")
    save_picture(pictures / "0005.png", grey_head(1))
    save_picture(pictures / "cover.png", grey_head(1))
    save_picture(pictures / "200.png", grey_head(1))
    (pictures / "notes.txt").write_text("")
    with (root / "labels.csv").open("a") as file:
        file.write("0,0\nseven,1\n7,2\n7\n\n")
    cases, unusable = found(KAGGLE_KITAMURA, root, tmp_path)
    assert [int(case.study) for case in cases] == [0, 1, 3, 4, 5, 6, 7, 200]
    assert cases[0].labels == NOTHING_KNOWN, "two rows contradict each other"
    assert cases[-1].labels == NOTHING_KNOWN, "no row at all"
    assert sorted(f"{Path(one.where).name}: {one.reason}" for one in unusable) == [
        "005.png: 0005.png has the same number",
        "cover.png: its name is not the number of a picture",
        "labels.csv, line 10: another row says otherwise of this picture; its label stays unknown",
        "labels.csv, line 11: the row does not say a number and 0 or 1",
        "labels.csv, line 12: the row does not say a number and 0 or 1",
        "labels.csv, line 13: the row does not say a number and 0 or 1",
        "labels.csv: it says nothing of picture 200; its label stays unknown",
        "labels.csv: it speaks of picture 002, which is missing",
        "notes.txt: it is no JPEG or PNG picture",
    ]
    damaged = [one for case in cases for one in KAGGLE_KITAMURA.read(case) if isinstance(one, Unusable)]
    assert [Path(one.where).name for one in damaged] == ["003.png", "004.png"]
    assert damaged[1].reason == "it holds 16 bits a pixel, and no window is known for them"


def test_a_label_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    root = kitamura_tree(tmp_path / "kaggle")
    (root / "labels.csv").write_text("name,blood\n0,1\n")
    with pytest.raises(ValueError, match=r"has the columns name, blood, not id, hemorrhage"):
        list(KAGGLE_KITAMURA.find(root, tmp_path, print))


def test_a_wrong_folder_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "Data" / "NORMAL").mkdir(parents=True)
    (tmp_path / "Data" / "Hemorrhagic").mkdir()
    (tmp_path / "head_ct").mkdir()
    (tmp_path / "labels.csv").write_text("id, hemorrhage\n")
    for root in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match=r"expected Data/NORMAL/<patient>/\*\.jpg and Data/Hemorrhagic/KANAMA"):
            list(KAGGLE_CYPRUS.find(root, tmp_path, print))
        with pytest.raises(ValueError, match=r"expected labels\.csv and head_ct/head_ct/NNN\.png"):
            list(KAGGLE_KITAMURA.find(root, tmp_path, print))
