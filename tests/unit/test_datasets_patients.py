"""Every data set of the registry, from its tree through the command to a split: nobody stands on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trees import PhysionetScan, RsnaSlice, physionet_jpeg_tree, physionet_tree, rsna_tree
from tests.trees_cq500 import PLAIN, Cq500Patient, cq500_tree
from tests.trees_folder import folder_tree, picture_tree
from tests.trees_pictures import cyprus_tree, kitamura_tree
from tests.trees_volumes import BhsdScan, bhsd_tree, instance_tree
from trainer.cli import main
from trainer.datasets.cache import Cache, open_cache
from trainer.datasets.registry import DATASETS
from trainer.experiment.protocol import SplitSpec
from trainer.experiment.split import draw_split
from trainer.experiment.truth import slice_truth
from trainer.phantom.exam import ScanGeometry
from trainer.phantom.writing import StudyPlan, write_studies

SCANS = tuple(PhysionetScan(50 + number, 3, {2: [number % 5]} if number % 2 else {}) for number in range(6))


@dataclass(frozen=True)
class Tree:
    """How a tree is built, and who is meant by a study: told from the tree, not by the adapter."""

    build: Callable[[Path], object]
    person: Callable[[str], str] = str
    people: int = 0


def rsna(root: Path) -> object:
    """Eight people; every second one came twice."""
    slices = [
        RsnaSlice(f"ID_{number:08d}{visit}", f"ID_pat_{number}", f"ID_study_{number}_{visit}", 1.0 * visit, types)
        for number in range(8)
        for visit in range(1 + number % 2)
        for types in ([["epidural"], []][number % 2],)
    ]
    return rsna_tree(root, slices[:-3], slices[-3:])


def cq500(root: Path) -> object:
    """Five people, one of whom came twice and is named with a suffix then."""
    names = ("CQ500CT1 CQ500CT1", "CQ500CT2 CQ500CT2", "CQ500_CT_2_1", "CQ500-CT-5", "CQ500CT7_CQ500CT7", "CQ500CT12")
    seen = (("ICH", "SDH"), ())
    return cq500_tree(root, [Cq500Patient(one, one, [seen[n % 2]] * 3, [PLAIN]) for n, one in enumerate(names)])


def bhsd(root: Path) -> object:
    """Five people, two of whom came twice."""
    names = ["ID_aa_ID_01", "ID_aa_ID_02", "ID_bb_ID_03", "ID_bb_ID_04", "ID_cc_ID_05", "ID_dd_ID_06", "ID_ee_ID_07"]
    return bhsd_tree(root, [BhsdScan(name, [0, 1 + place % 5, 0]) for place, name in enumerate(names)])


def heads(root: Path) -> object:
    """Made heads, every one somebody else."""
    geometry = ScanGeometry(slice_count=14, thickness_mm=10.0, matrix=128, spacing_mm=1.9)
    return write_studies(root, 3, 5, plan=StudyPlan(geometry=geometry), masks=True)


def of_cyprus(study: str) -> str:
    """Folders of one person differ in what stands in the brackets; 7 may be one person or two."""
    return study.split("/")[1].split("[")[0].strip()


TREES = {
    "physionet_ct_ich": Tree(lambda root: physionet_tree(root, SCANS), people=6),
    "physionet_ct_ich_jpeg": Tree(lambda root: physionet_jpeg_tree(root, SCANS), people=6),
    "rsna_2019": Tree(rsna, lambda study: study.split("_")[2], people=8),
    "cq500": Tree(cq500, lambda study: study.split("-")[2], people=5),
    "kaggle_cyprus": Tree(cyprus_tree, of_cyprus, people=5),
    "kaggle_kitamura": Tree(kitamura_tree, people=8),
    "bhsd": Tree(bhsd, lambda study: study.split("_")[1], people=5),
    "instance_2022": Tree(instance_tree, people=3),
    "folder": Tree(folder_tree, lambda study: study.split("/")[0], people=2),
    "folder_pictures": Tree(picture_tree, lambda study: study.split("/")[0], people=3),
    "phantom": Tree(heads, people=3),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cache]:
    """The cache that the command writes of the tree of a data set."""

    @cache
    def cache_of(name: str) -> Cache:
        root, out = tmp_path_factory.mktemp(name), tmp_path_factory.mktemp("caches") / name
        TREES[name].build(root)
        done = CliRunner().invoke(main, ["prepare", name, str(root), str(out), "--size", "32", "--workers", "0"])
        assert done.exit_code == 0, done.output
        assert "Traceback" not in done.output
        return open_cache(out)

    return cache_of


def test_every_data_set_has_a_tree() -> None:
    assert set(TREES) == set(DATASETS)


@pytest.mark.parametrize("name", sorted(TREES))
def test_the_command_finds_everybody_of_the_tree(name: str, prepared: Callable[[str], Cache]) -> None:
    made = prepared(name)
    people = {TREES[name].person(study) for study in made.description.studies}
    assert len(people) == len(made.description.patients) == TREES[name].people
    assert made.usable.size == len(made.table)
    assert made.pixels.any()
    assert made.description.licence == DATASETS[name].licence


@pytest.mark.parametrize("name", sorted(TREES))
def test_no_split_divides_a_person(name: str, prepared: Callable[[str], Cache]) -> None:
    made = prepared(name)
    person = np.array([TREES[name].person(study) for study in made.description.studies])[made.table["study"]]
    labels = slice_truth(made, labels="study")
    checked = []

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        select=st.sampled_from(["all", "balanced", "positive"]),
        test=st.sampled_from([0.0, 0.2, 0.4]),
        folds=st.sampled_from([0, 2, 3]),
        seed=st.integers(0, 1000),
    )
    def drawn(select: str, test: float, folds: int, seed: int) -> None:
        spec = SplitSpec("patient", select=select, test=test, folds=folds)  # type: ignore[arg-type]
        try:
            split = draw_split(made, spec, seed, labels)
        except ValueError as exc:
            assert "patient" in str(exc) or "leaves" in str(exc)  # noqa: PT017 - few people, many draws
            return
        for fold in split.folds:
            parts = [set(person[rows].tolist()) for rows in (split.test, fold.train, fold.validation)]
            assert sum(map(len, parts)) == len(set.union(*parts)), parts
            checked.append(parts)

    drawn()
    assert checked, "no split was drawn at all"


def test_pictures_that_name_nobody_are_refused_by_a_split_of_patients(tmp_path: Path) -> None:
    cyprus_tree(tmp_path / "flat", normal={}, flat=4)
    done = CliRunner().invoke(
        main,
        ["prepare", "kaggle_cyprus", str(tmp_path / "flat"), str(tmp_path / "out"), "--size", "32", "--workers", "0"],
    )
    assert done.exit_code == 0, done.output
    assert "3 patients and 4 studies that name no patient" in done.stdout
    made = open_cache(tmp_path / "out")
    with pytest.raises(ValueError, match="does not say which slices belong to the same patient"):
        draw_split(made, SplitSpec("patient"), 1, slice_truth(made, labels="study"))


@pytest.mark.parametrize("name", sorted(TREES))
def test_a_wrong_folder_is_one_sentence_of_the_command(name: str, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    for root in (tmp_path, tmp_path / "nothing"):
        done = CliRunner().invoke(main, ["prepare", name, str(root), str(tmp_path / "out"), "--size", "32"])
        assert done.exit_code == 1
        last = done.stderr.splitlines()[-1]
        assert last == f"Error: {root} does not look like this data set: expected {DATASETS[name].expects}"
