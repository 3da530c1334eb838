"""What ``trainer phantom --masks`` writes, read as a data set: heads, types in the masks, what is torn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.trees import found, read
from trainer.datasets.cache import open_cache
from trainer.datasets.case import NO_BLOOD, NOTHING_KNOWN, YES
from trainer.datasets.labels import SHOWN_FROM_MM2
from trainer.datasets.phantom import PHANTOM
from trainer.datasets.prepare import cache_spec, prepare
from trainer.phantom.exam import ScanGeometry
from trainer.phantom.writing import StudyPlan, write_studies
from triage.dicom.slices import read_slice
from triage.domain.finding import Subtype

MM = 1.9


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bleeding head and one that does not bleed; do not change them."""
    folder = tmp_path_factory.mktemp("heads")
    geometry = ScanGeometry(slice_count=14, thickness_mm=10.0, matrix=128, spacing_mm=MM)
    write_studies(folder, 2, 3, plan=StudyPlan(geometry=geometry, subtypes=(Subtype.IPH,)), masks=True)
    return folder


def copied(heads: Path, to: Path) -> Path:
    for file in sorted(heads.rglob("*")):
        if file.is_file():
            target = to / file.relative_to(heads)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return to


def test_every_exam_is_a_patient_and_its_masks_say_the_type(heads: Path, tmp_path: Path) -> None:
    cases, unusable = found(PHANTOM, heads, tmp_path)
    assert unusable == []
    assert [len(case.slices) for case in cases] == [14, 14]
    assert len({case.patient for case in cases}) == 2
    assert [case.labels for case in cases] == [(1, 0, 1, 0, 0, 0), NO_BLOOD]
    with np.load(heads / "study-0001.npz") as kept:
        outlines = kept["labels"]
    heights = [one.position_mm for one in cases[0].slices]
    assert heights == sorted(heights)
    slices = read(PHANTOM, cases[0])
    for index, (one, pixels) in enumerate(zip(cases[0].slices, slices, strict=True)):
        np.testing.assert_array_equal(pixels.mask, outlines[index])
        np.testing.assert_array_equal(pixels.image, read_slice(one.image.read_bytes(), 1))
        assert pixels.spacing_mm == (MM, MM)
        shown = (outlines[index] == 2).sum() * MM**2 >= SHOWN_FROM_MM2
        assert one.labels == ((1, 0, 1, 0, 0, 0) if shown else NO_BLOOD)
    assert {one.labels[0] for one in cases[0].slices} == {0, 1}
    assert {one.labels for one in cases[1].slices} == {NO_BLOOD}


def test_it_becomes_a_cache_on_the_raster_of_the_daemon(heads: Path, tmp_path: Path) -> None:
    prepare(PHANTOM, heads, tmp_path / "out", cache_spec(PHANTOM, 64, "raster", 4.0), 0, lambda line: None)
    cache = open_cache(tmp_path / "out")
    assert len(cache.table) == 28
    assert cache.table["drawn"].all()
    assert np.unique(cache.masks).tolist() == [0, 2]
    with np.load(heads / "study-0001.npz") as kept:
        true_ml = (kept["labels"] == 2).sum() * MM**2 * 10.0 / 1000
    assert (cache.masks == 2).sum() * 4.0**2 * 10.0 / 1000 == pytest.approx(true_ml, rel=0.15)
    assert (cache.table["study_labels"][:14, 2] == YES).all()


def test_without_masks_only_heads_without_blood_are_known_slice_by_slice(heads: Path, tmp_path: Path) -> None:
    root = copied(heads, tmp_path / "heads")
    for file in root.glob("*.npz"):
        file.unlink()
    cases, unusable = found(PHANTOM, root, tmp_path)
    assert unusable == []
    assert {one.labels for one in cases[0].slices} == {NOTHING_KNOWN}
    assert {one.labels for one in cases[1].slices} == {NO_BLOOD}
    assert cases[0].labels == (1, 0, 1, 0, 0, 0)
    assert all(pixels.mask is None for pixels in read(PHANTOM, cases[0]))


def test_every_torn_file_is_named(heads: Path, tmp_path: Path) -> None:
    root = copied(heads, tmp_path / "heads")
    (root / "study-0001" / "0003.dcm").write_bytes(b"torn")
    whole = (root / "study-0001.npz").read_bytes()
    (root / "study-0001.npz").write_bytes(whole[: len(whole) // 2])
    for file in (root / "study-0002").iterdir():
        file.unlink()
    cases, unusable = found(PHANTOM, root, tmp_path)
    assert [len(case.slices) for case in cases] == [13]
    said = [f"{Path(one.where).name}: {one.reason}" for one in unusable]
    assert said[0].startswith("0003.dcm: it is no DICOM file")
    assert said[1:] == [
        "study-0001.npz: it does not hold the labels of an exam; the slices go without a mask",
        "study-0002: it holds no slice",
    ]


def test_a_lost_slice_does_not_shift_the_masks(heads: Path, tmp_path: Path) -> None:
    root = copied(heads, tmp_path / "heads")
    (root / "study-0001" / "0001.dcm").unlink()
    cases, _ = found(PHANTOM, root, tmp_path)
    with np.load(root / "study-0001.npz") as kept:
        outlines = kept["labels"]
    for pixels, outline in zip(read(PHANTOM, cases[0]), outlines[1:], strict=True):
        np.testing.assert_array_equal(pixels.mask, outline)


def test_a_wrong_folder_is_told_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text("{}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "truth.json").write_text('[{"name": 1}]')
    for root in (tmp_path / "nothing", tmp_path / "other"):
        with pytest.raises(ValueError, match=r"expected truth\.json, study-NNNN/NNNN\.dcm"):
            list(PHANTOM.find(root, tmp_path, lambda line: None))
