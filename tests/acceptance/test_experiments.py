"""Acceptance 3 and 7 of the trainer: every shipped experiment, end to end, by the commands a person gives.

As published: SYNTHETIC data laid out as the paper's own set. Honest: the made heads of ``trainer phantom``. All nets of
each protocol train, narrow and for a few steps, so no figure here means anything; that all of them are there does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lxml.html
import numpy as np
import pytest
from click.testing import CliRunner

from tests.browser import chromium, keep
from tests.conftest import unavailable
from tests.miniatures import LISTED_SCANS, kaggle_tree, miniature, mri_tree
from tests.services import MissingProgramError
from tests.trees import physionet_jpeg_tree, physionet_tree
from trainer.cli import main
from trainer.datasets.cache import open_cache
from trainer.experiment.protocol import load_experiment, shipped_experiments
from trainer.experiment.run_folder import load_run
from trainer.papers.paper import load_paper

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

AS_PUBLISHED: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "denseunet": ("kaggle_cyprus", kaggle_tree),
    "dunet": ("physionet_ct_ich", lambda root: physionet_tree(root, LISTED_SCANS)),
    "ihsnet": ("physionet_ct_ich_jpeg", lambda root: physionet_jpeg_tree(root, LISTED_SCANS)),
    "ihsnet-lists": ("physionet_ct_ich_jpeg", lambda root: physionet_jpeg_tree(root, LISTED_SCANS)),
    "light": ("physionet_ct_ich_jpeg", lambda root: physionet_jpeg_tree(root, LISTED_SCANS)),
    "liu": ("folder_pictures", mri_tree),
}
HONEST = [name for name in shipped_experiments() if name.endswith("-honest")]
RECOMPUTED = {"denseunet": "accuracy of 94.28%", "ihsnet": "accuracy of 97.18%"}
MM = ("--pixel-mm", 8)
"""32 pixels of a raster that hold a whole head."""


def trainer(*arguments: object) -> tuple[str, str]:
    """What the command wrote and told; it succeeds."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout, result.stderr


@dataclass(frozen=True)
class Report:
    """A report as its readers see it: the words of the page, and what programs get."""

    page: Path
    said: str
    found: list[dict[str, Any]]
    across: dict[str, Any] | None


def report_in(folder: Path) -> Report:
    """Read a report, which needs nothing beside it."""
    page = folder / "report.html"
    tree = lxml.html.fromstring(page.read_text(encoding="utf-8"))
    assert not tree.xpath("//script")
    links = [value for _, _, value, _ in tree.iterlinks()]
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in links)
    assert tree.xpath("//figure/img")
    content = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return Report(page, " ".join(tree.text_content().split()), content["experiments"], content["across"])


def assert_beside_the_paper(report: Report, run: Path) -> None:
    """Every cell of the paper has ours beside it with its interval, or says why not; what it contradicts is said."""
    protocol, (found,) = load_run(run).protocol, report.found
    paper, nets = load_paper(protocol.paper), {net.name for net in protocol.nets}
    rows = found["paper"]["beside"]
    assert [row["printed"] for row in rows] == [cell.value for cell in paper.cells]
    for row in rows:
        assert f"{row['printed']:.3f}" in report.said
        ours = row["ours"]
        assert (ours is None) == bool(row["why"])
        assert (row["why"] == "net not trained here") == (row["net"] not in nets)
        if ours is not None:
            assert ours["low"] <= ours["value"] <= ours["high"]
            assert ours["n"] > 0
            assert f"{ours['value']:.3f} [{ours['low']:.3f}, {ours['high']:.3f}]" in report.said
    assert any(row["ours"] is not None for row in rows)
    for sentence in paper.contradictions:
        assert " ".join(sentence.split()) in report.said
    assert RECOMPUTED.get(paper.key, "") in report.said
    for net in found["nets"]:
        cost = net["cost"]
        assert cost["parameters"] > 0
        assert min(cost["gflop_per_slice"], cost["ms_per_slice"], cost["training_seconds"]) > 0
        assert f"{cost['parameters']:,}" in report.said


def assert_patients_apart(folder: Path, cache: Path) -> None:
    """No patient in two parts."""
    patient, split = open_cache(cache).table["patient"], load_run(folder).split()
    for fold in split.folds:
        parts = [set(patient[rows].tolist()) for rows in (fold.train, fold.validation, split.test)]
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts))


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made heads with masks, every second one with blood."""
    folder = tmp_path_factory.mktemp("phantom") / "heads"
    size = ("--slices", 16, "--thickness", 9, "--matrix", 96)
    trainer("phantom", folder, "--studies", 12, *size, "--masks", "--status", "suspected", "--status", "not_suspected")
    return folder


def published(name: str, folder: Path) -> Path:
    """Prepare, train and evaluate one of ``AS_PUBLISHED``; its run folder."""
    dataset, tree = AS_PUBLISHED[name]
    protocol, cache, run = miniature(name, folder), folder / "cache", folder / "run"
    trainer("prepare", dataset, tree(folder / "set"), cache, "--protocol", protocol, "--workers", 0)
    trainer("train", run, "--protocol", protocol, "--data", cache)
    trainer("evaluate", run)
    return run


def test_every_shipped_experiment_is_here() -> None:
    assert {*AS_PUBLISHED, *HONEST} == set(shipped_experiments())


@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_a_paper_is_repeated_as_published(tmp_path: Path, name: str) -> None:
    run = published(name, tmp_path)
    report = report_in(run)
    assert_beside_the_paper(report, run)
    assert "As published. This protocol keeps the paper's defects" in report.said
    assert ("SMOTE on pixels" in report.said) == name.startswith("ihsnet")
    assert ("it is harmful" in report.said) == name.startswith("ihsnet")
    assert ("No locked test." in report.said) == (name == "light")
    assert "Synthetic data." not in report.said  # a tree laid out as a public set is taken for that set
    assert ("epoch by epoch" in report.said) == (name == "dunet")
    assert ("grid search of denseunet" in report.said) == (name == "denseunet")
    if name == "ihsnet-lists":
        assert "Patient 51 is in the training list of IPH and in the test list of SDH" in report.said


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_protocol_opens_its_test_part_once(tmp_path: Path, heads: Path, name: str) -> None:
    protocol, cache, run = miniature(name, tmp_path), tmp_path / "cache", tmp_path / "run"
    raster = load_experiment(str(protocol)).input.geometry == "raster"
    trainer("prepare", "phantom", heads, cache, "--protocol", protocol, "--workers", 0, *(MM if raster else ()))
    trainer("train", run, "--protocol", protocol, "--data", cache)
    assert not list(run.glob("*/test.npz"))
    assert_patients_apart(run, cache)

    said, told = trainer("evaluate", run)
    assert said == f"{run / 'report.html'}\n"
    assert "the locked test part is opened" in told
    report = report_in(run)
    assert_beside_the_paper(report, run)
    assert "Synthetic data. These heads were made by a program." in report.said
    assert "made by a program, SYNTHETIC" in report.said
    assert "As published." not in report.said
    assert "SMOTE on pixels" not in report.said
    assert "No locked test." not in report.said
    answers = {path: path.read_bytes() for path in run.glob("*/test.npz")}
    assert len(answers) == len(load_run(run).nets)
    opened = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["opened_at"]
    assert len(opened) == 1
    assert report.found[0]["facts"]["locked test part"] == f"opened once, at {opened[0]}"

    _, told = trainer("evaluate", run)
    assert f"was opened before, first at {opened[0]}" in told
    assert "asked about the test part" not in told
    assert json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["opened_at"] == opened
    assert {path: path.read_bytes() for path in run.glob("*/test.npz")} == answers


def test_both_variants_stand_side_by_side_and_an_external_set_beside_them(tmp_path: Path, heads: Path) -> None:
    run = published("liu", tmp_path)
    protocol, cache, honest = miniature("liu-honest", tmp_path), tmp_path / "made", tmp_path / "honest"
    trainer("prepare", "phantom", heads, cache, "--protocol", protocol, "--workers", 0)
    trainer("train", honest, "--protocol", protocol, "--data", tmp_path / "cache", "--net", "dr_unet")
    _, told = trainer("evaluate", honest, "--external", f"heads={cache}")
    assert "unet_dr is left out: its folds are not all trained" in told
    (found,) = report_in(honest).found
    assert found["facts"]["not trained"] == "dense_unet, unet_dr"
    assert "phantom; none needed: made by a program, SYNTHETIC; SHA-256" in found["facts"]["external set heads"]
    (net,) = found["nets"]
    assert {"validation", "test", "heads"} == set(net["parts"])
    assert any(measure["name"] == "Dice" for measure in net["parts"]["heads"])

    said, _ = trainer("compare", run, honest, tmp_path / "both")
    page = tmp_path / "both" / "report.html"
    assert said == f"{page}\n"
    words = " ".join(lxml.html.fromstring(page.read_text(encoding="utf-8")).text_content().split())
    assert "2 experiments: liu, liu-honest." in words
    assert "test: the experiments put different slices into this part, so nothing is paired." in words
    assert "heads: only liu-honest has this part." in words
    assert words.count("As published. This protocol") == 1
    content = json.loads((tmp_path / "both" / "report.json").read_text(encoding="utf-8"))
    assert [one["experiment"] for one in content["experiments"]] == ["liu", "liu-honest"]


def test_a_report_can_be_read_in_a_browser(tmp_path: Path) -> None:
    run = published("ihsnet", tmp_path)
    try:
        with chromium(tmp_path / "profile") as browser:
            browser.set_window_size(1280, 900)
            browser.get((run / "report.html").as_uri())
            wide = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
            pictures = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
            plots = browser.execute_script(
                "return [...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width)"
            )
            keep("report.png", browser.get_screenshot_as_png())
            loud = browser.get_log("browser")
    except MissingProgramError as missing:
        unavailable(str(missing))
    assert wide[0] <= wide[1], "the page does not scroll sideways"
    assert pictures
    assert min(pictures) >= 512
    assert np.min(plots) > 200
    assert not loud
