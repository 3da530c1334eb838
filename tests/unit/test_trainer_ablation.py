"""One thing less at a time: what the variants are, what is compared, and that nothing is run twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.ablation.run import Asked, ablate
from trainer.ablation.said import Judged, Said, figures_of
from trainer.ablation.table import change, table
from trainer.ablation.variants import COARSE_MM, EVERYTHING, of_seed, variants
from trainer.demonstration.protocol import Protocol, load_protocol
from trainer.measures.weighted import auc_of, mean_of
from trainer.phantom.ingredients import Ingredient
from triage.inference.preprocess import PreprocessSpec


@pytest.fixture(scope="module")
def plan() -> Protocol:
    return load_protocol("ablation")


def test_every_variant_differs_from_everything_in_one_thing(plan: Protocol) -> None:
    found = variants(plan)
    whole = found[EVERYTHING]
    assert next(iter(found)) == EVERYTHING
    assert len(found) == 3 + len(Ingredient)
    for ingredient in Ingredient:
        less = found[f"without {ingredient.value.replace('_', ' ')}"]
        assert less.data.without == (ingredient.value,)
        assert replace(less, data=whole.data) == whole
    alone = found["without neighbours"]
    assert {alone.slice_classifier.reads, alone.munet.reads} == {"slice"}
    assert replace(alone, slice_classifier=whole.slice_classifier, munet=whole.munet) == whole
    finer = found["finer pixels"]
    assert (whole.preprocessing.pixel_mm, finer.preprocessing.pixel_mm) == (COARSE_MM, 1.0)
    assert whole.preprocessing.field_mm == finer.preprocessing.field_mm
    assert whole.munet.crop == (160, 128)
    nets = {"slice_classifier": finer.slice_classifier, "munet": finer.munet}
    assert replace(whole, preprocessing=finer.preprocessing, **nets) == finer  # type: ignore[arg-type]


def test_a_seed_changes_nothing_else(plan: Protocol) -> None:
    assert of_seed(plan, 2) == replace(plan, seed=plan.seed + 2)


@pytest.mark.parametrize(
    ("spoiled", "told"),
    [
        (lambda p: replace(p, preprocessing=PreprocessSpec(size=256, pixel_mm=2.0)), "finer ones"),
        (lambda p: replace(p, data=replace(p.data, without=("noise",))), "starts from everything"),
        (lambda p: replace(p, munet=replace(p.munet, reads="slice")), "starts from everything"),
    ],
)
def test_what_leaves_nothing_to_compare_is_refused(
    plan: Protocol, spoiled: Callable[[Protocol], Protocol], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        variants(spoiled(plan))


def judged(scores: list[float], positive: list[bool]) -> Judged:
    return Judged(auc_of(np.array(scores), np.array(positive)), np.arange(len(scores)))


def test_the_same_answers_differ_by_nothing() -> None:
    one = [judged([0.1, 0.9, 0.4, 0.6], [False, True, True, False])] * 3
    found = change(one, one)
    assert (found.value, found.low, found.high, found.n) == (0.0, 0.0, 0.0, 4)


def test_a_difference_of_all_cases_and_seeds_is_certain() -> None:
    better, worse = mean_of(np.full(20, 0.75)), mean_of(np.full(20, 0.5))
    index = np.arange(20)
    found = change([Judged(better, index)] * 3, [Judged(worse, index)] * 3)
    assert found.value == found.low == found.high == 0.25


def test_seeds_that_disagree_widen_the_interval() -> None:
    index, level = np.arange(40), mean_of(np.full(40, 0.5))
    steady = [Judged(mean_of(np.full(40, 0.6)), index)] * 3
    unsteady = [Judged(mean_of(np.full(40, value)), index) for value in (0.4, 0.6, 0.8)]
    narrow, wide = (change(side, [Judged(level, index)] * 3) for side in (steady, unsteady))
    assert narrow.value == pytest.approx(wide.value)
    assert narrow.high - narrow.low < 1e-9
    assert wide.low == pytest.approx(-0.1)
    assert wide.high == pytest.approx(0.3)


def test_sides_of_different_length_are_refused() -> None:
    one = judged([0.1, 0.9], [False, True])
    with pytest.raises(ValueError, match="zip"):
        change([one], [one, one])


def said(shift: float = 0.0) -> Said:
    """Eight exams of four slices; ``shift`` makes blood less certain."""
    bleeds = [number % 2 == 0 for number in range(8)]
    shows = [bleeds[exam] and place == 1 for exam in range(8) for place in range(4)]
    rng = np.random.default_rng(3)
    return Said(
        bleeds=bleeds,
        mask=[0.2 + (0.6 - shift) * b + 0.1 * rng.random() for b in bleeds],
        classifier=[0.3 + 0.3 * b + 0.1 * rng.random() for b in bleeds],
        true_ml=[10.0 * b for b in bleeds],
        marked_ml=[8.0 * b for b in bleeds],
        overlap_ml=[(8.0 - 5.0 * shift) * b for b in bleeds],
        slice_exam=[exam for exam in range(8) for _ in range(4)],
        slice_shows=shows,
        slice_classifier=[0.1 + 0.5 * s + 0.1 * rng.random() for s in shows],
    )


def test_figures_are_those_that_the_answers_allow() -> None:
    assert list(figures_of(said())) == [
        "exam AUC, mask",
        "exam AUC, classifier",
        "slice AUC, classifier",
        "Dice, pooled",
    ]
    more = replace(
        said(),
        false_blood=[True, False],
        pasted_slice=[4, 4, 9],
        pasted_blood=[True, False, True],
        pasted_mask=[0.9, 0.1, 0.8],
        figure_blood=[True, False],
        figure_mask=[0.2, 0.4],
    )
    found = figures_of(more)
    assert len(found) == 7
    assert [one.better for one in found.values()].count("lower") == 1
    assert found["real series: AUC of pasted blood, mask"].index.tolist() == [0, 0, 1]


def test_the_table_has_levels_first_and_then_differences_on_common_seeds() -> None:
    lines = table({EVERYTHING: {1: said(), 2: said()}, "without noise": {2: said(0.9)}}).splitlines()
    assert lines[0].startswith("SYNTHETIC heads")
    lines = lines[2:]
    assert lines[0].startswith("| variant | seeds | exam AUC, mask |")
    assert lines[2].startswith("| everything | 2 | 1.000 (1.000 to 1.000) |")
    assert lines[3].startswith("| without noise | 1 | **-1.000 [-1.000, -1.000]** | +0.000 [+0.000, +0.000] |")
    assert "| **-0.500 [-0.500, -0.500]** |" in lines[3]


def test_answers_survive_json() -> None:
    assert Said(**json.loads(json.dumps(said().as_dict()))) == said()


def test_what_was_run_is_kept_and_not_run_again(plan: Protocol, tmp_path: Path) -> None:
    ran: list[Path] = []

    def run(variant: Protocol, folder: Path) -> Said:
        folder.mkdir(parents=True)
        (folder / "state.pt").write_bytes(b"much")
        ran.append(folder)
        return said(0.9 if variant.data.without else 0.0)

    asked = Asked(seeds=2, only=("without noise",))
    first = ablate(tmp_path, plan, asked, run, print)
    names = [f"{name}-{plan.seed + number}" for number in (0, 1) for name in ("everything", "without-noise")]
    assert [folder.name for folder in ran] == names
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == sorted(names)
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == first
    assert "| without noise | 2 | **-1.000 [-1.000, -1.000]** |" in first
    assert not list(tmp_path.rglob("state.pt"))

    def never(variant: Protocol, folder: Path) -> Said:
        raise AssertionError(folder)

    assert ablate(tmp_path, plan, asked, never, print) == first
    (tmp_path / f"{names[2]}.json").unlink()
    with pytest.raises(AssertionError, match=names[2]):
        ablate(tmp_path, plan, asked, never, print)


def test_answers_to_other_questions_are_not_mixed(plan: Protocol, tmp_path: Path) -> None:
    asked = Asked(seeds=1, only=("without noise",))
    ablate(tmp_path, plan, asked, lambda variant, folder: said(), print)
    for other, questions in ((replace(plan, version="9.9.9"), asked), (plan, replace(asked, series=Path("a/head")))):
        with pytest.raises(ValueError, match="another protocol, or to other questions"):
            ablate(tmp_path, other, questions, lambda variant, folder: said(), print)


def test_exams_of_one_kind_leave_nothing_to_tell_apart(plan: Protocol, tmp_path: Path) -> None:
    one = replace(plan, exams=replace(plan.exams, test_template=1, test_procedural=0))
    with pytest.raises(ValueError, match="one with blood and one without"):
        ablate(tmp_path, one, Asked(), lambda variant, folder: said(), print)


def test_an_unknown_variant_is_refused(plan: Protocol, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no variant 'without skull': give one of everything, without inner table"):
        ablate(tmp_path, plan, Asked(only=("without skull",)), lambda variant, folder: said(), print)
