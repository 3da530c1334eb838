from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.caches import Made, cache_in_memory
from trainer.datasets.cache import Cache
from trainer.experiment.named_split import load_named_split, named_parts, read_named_split
from trainer.experiment.protocol import SplitSpec, load_experiment, shipped_experiments
from trainer.experiment.split import Split, draw_split, load_split, save_split
from trainer.experiment.truth import mask_labels, slice_truth, strata

SPLITS = Path(__file__).parents[2] / "trainer" / "splits"


def patients_of(cache: Cache, rows: np.ndarray) -> set[int]:
    return set(cache.table["patient"][rows].tolist())


def parts_of(split: Split) -> list[tuple[np.ndarray, ...]]:
    return [(split.test, fold.train, fold.validation) for fold in split.folds]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=st.builds(
        Made,
        patients=st.integers(6, 14),
        studies=st.integers(1, 2),
        slices=st.integers(1, 5),
        size=st.just(16),
        bleeding=st.integers(0, 3),
        known_types=st.booleans(),
        drawn=st.booleans(),
        unusable=st.integers(0, 3),
        seed=st.integers(0, 9),
    ),
    select=st.sampled_from(["all", "balanced"]),
    test=st.sampled_from([0.0, 0.1, 0.2, 0.35]),
    folds=st.sampled_from([0, 2, 3]),
    seed=st.integers(0, 1000),
)
def test_no_patient_stands_in_two_parts(made: Made, select: str, test: float, folds: int, seed: int) -> None:
    cache = cache_in_memory(made)
    spec = SplitSpec("patient", select=select, test=test, folds=folds)  # type: ignore[arg-type]
    try:
        split = draw_split(cache, spec, seed)
    except ValueError as exc:
        assert "patient" in str(exc) or "no slice" in str(exc)  # noqa: PT017 - one of many drawn cases
        return
    for parts in parts_of(split):
        everyone = [patients_of(cache, rows) for rows in parts]
        assert sum(len(part) for part in everyone) == len(set.union(*everyone))
        assert set(np.concatenate(parts).tolist()) <= set(cache.usable.tolist())
    if folds:
        held = np.concatenate([fold.validation for fold in split.folds])
        assert len(held) == len(np.unique(held))
        assert set(held.tolist()) == set(np.concatenate(parts_of(split)[0][1:]).tolist())


@pytest.mark.parametrize("name", [n for n in shipped_experiments() if load_experiment(n).split.unit == "patient"])
@given(patients=st.integers(12, 30), slices=st.integers(1, 4), bleeding=st.integers(1, 3), seed=st.integers(0, 1000))
@settings(max_examples=15)
def test_no_patient_stands_in_two_parts_of_a_shipped_protocol(
    name: str, patients: int, slices: int, bleeding: int, seed: int
) -> None:
    cache = cache_in_memory(Made(patients=patients, slices=slices, bleeding=bleeding, size=16, seed=seed % 10))
    split = draw_split(cache, replace(load_experiment(name).split, named=""), seed)
    for parts in parts_of(split):
        everyone = [patients_of(cache, rows) for rows in parts]
        assert sum(len(part) for part in everyone) == len(set.union(*everyone))


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    cache = cache_in_memory(Made(patients=20))
    spec = SplitSpec("patient", folds=4)
    first, again, other = (draw_split(cache, spec, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.test, again.test)
    np.testing.assert_array_equal(first.folds[2].train, again.folds[2].train)
    assert first.test.tolist() != other.test.tolist()


def test_shares_and_strata_are_kept() -> None:
    cache = cache_in_memory(Made(patients=40, slices=8))
    for unit in ("image", "patient"):
        split = draw_split(cache, SplitSpec(unit, test=0.2, validation=0.25), 1)  # type: ignore[arg-type]
        labels = slice_truth(cache)[:, 0]
        assert len(split.test) == pytest.approx(0.2 * 320, abs=16)
        assert len(split.folds[0].validation) == pytest.approx(0.25 * 0.8 * 320, abs=16)
        for part in (split.test, split.folds[0].train, split.folds[0].validation):
            assert labels[part].mean() == pytest.approx(labels.mean(), abs=0.08)


def test_by_image_neighbouring_slices_lie_on_both_sides() -> None:
    cache = cache_in_memory()
    split = draw_split(cache, SplitSpec("image", folds=2), 1)
    fold = split.folds[0]
    assert patients_of(cache, fold.train) & patients_of(cache, fold.validation)


@pytest.mark.parametrize(("select", "negatives"), [("all", 36), ("positive", 0), ("balanced", 12)])
def test_selection(select: str, negatives: int) -> None:
    cache = cache_in_memory(Made(patients=8, slices=6, bleeding=3))
    split = draw_split(cache, SplitSpec("image", select=select, test=0.0, validation=0.0), 1)  # type: ignore[arg-type]
    labels = slice_truth(cache)[split.folds[0].train, 0]
    assert (labels == 1).sum() == 12
    assert (labels == 0).sum() == negatives
    assert len(split.folds[0].validation) == len(split.test) == 0


def test_patients_that_are_not_named_cannot_be_kept_apart() -> None:
    cache = cache_in_memory(Made(named=False))
    with pytest.raises(ValueError, match="does not say which slices belong to the same patient"):
        draw_split(cache, SplitSpec("patient"), 1)
    assert len(draw_split(cache, SplitSpec("image"), 1).test)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(ValueError, match="patients cannot fill 7 folds"):
        draw_split(cache_in_memory(Made(patients=6)), SplitSpec("patient", test=0.0, folds=7), 1)


def test_a_saved_split_is_loaded_only_for_its_own_cache(tmp_path: Path) -> None:
    cache = cache_in_memory()
    split = draw_split(cache, SplitSpec("patient", folds=2), 1)
    save_split(tmp_path / "split.json", split, cache)
    loaded = load_split(tmp_path / "split.json", cache.description.digest)
    for before, after in zip(parts_of(split), parts_of(loaded), strict=True):
        for left, right in zip(before, after, strict=True):
            np.testing.assert_array_equal(left, right)
    with pytest.raises(ValueError, match="another cache"):
        load_split(tmp_path / "split.json", "0" * 64)
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(ValueError, match="no split"):
        load_split(tmp_path / "broken.json", "")


def test_slices_of_which_nothing_is_known_are_left_out() -> None:
    cache = cache_in_memory(Made(drawn=False, labelled=False))
    with pytest.raises(ValueError, match="leaves no slice"):
        draw_split(cache, SplitSpec("patient"), 1)
    truth = slice_truth(cache, "study")
    split = draw_split(cache, SplitSpec("patient", test=0.0), 1, truth)
    assert len(split.folds[0].train) + len(split.folds[0].validation) == 48
    bleeding = cache.table["patient"] % 2 == 0
    assert (truth[bleeding, 0] == 1).all()
    assert (truth[~bleeding, 0] == 0).all()


def test_a_drawn_mask_labels_a_slice_of_which_nothing_else_is_known() -> None:
    drawn, said = cache_in_memory(Made(labelled=False)), cache_in_memory()
    np.testing.assert_array_equal(slice_truth(drawn), slice_truth(said))
    assert mask_labels(np.full((4, 4), 6, np.uint8)).tolist() == [1, -1, -1, -1, -1, -1]
    assert mask_labels(np.array([[0, 6], [3, 0]], np.uint8)).tolist() == [1, -1, -1, 1, -1, -1]


def test_strata_name_the_first_subtype() -> None:
    labels = np.array([[0] * 6, [1, 0, 0, 1, 0, 1], [1, -1, -1, -1, -1, -1], [-1] * 6], np.int8)
    assert strata(labels).tolist() == [0, 3, 6, 7]


NAMED = """
title = "A list"
source = "a paper"
defects = ["Somebody is missing."]
[parts]
train = ["0", "1", "3", "4"]
test = ["2", "3", "44"]
"""


def test_a_published_list_keeps_no_patient_on_both_sides_and_says_what_is_wrong_with_it() -> None:
    named = read_named_split(NAMED, "a_list")
    parts, remarks = named_parts(named, tuple(f"{number:03d}" for number in range(6)))
    assert parts["train"].tolist() == [0, 1, 4]
    assert parts["test"].tolist() == [2, 3]
    assert remarks == (
        "A list: Somebody is missing.",
        "A list: the data set has no patient 44 (test)",
        "A list: patient 3 stands in two lists and is left out of train",
        "A list: 1 patients of the data set stand in no list and are left out",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (NAMED.replace("test =", "proof ="), "proof"),
        ("title =", "cannot be read"),
        (NAMED.replace('"0", "1", "3", "4"', ""), "nobody"),
    ],
)
def test_a_broken_list_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_named_split(text, "a_list")


def test_an_unknown_list_is_named() -> None:
    with pytest.raises(ValueError, match="there is no split 'nobody'"):
        draw_split(cache_in_memory(), SplitSpec("patient", named="nobody"), 1)


@pytest.mark.parametrize("name", [path.stem for path in sorted(SPLITS.glob("*.toml"))])
def test_every_shipped_list_can_be_read_and_says_its_defects(name: str) -> None:
    named = load_named_split(name)
    assert named.defects
    everybody = tuple(dict.fromkeys((*named.train, *named.validation, *named.test)))
    parts, remarks = named_parts(named, everybody)
    numbers = np.concatenate(list(parts.values()))
    assert len(numbers) == len(np.unique(numbers)) == len(everybody)
    assert len(remarks) >= len(named.defects)


def test_a_published_list_splits_a_cache_that_holds_its_patients() -> None:
    cache = cache_in_memory(Made(patients=100, slices=2, bleeding=1, size=16))
    split = draw_split(cache, SplitSpec("patient", select="positive", named="ihsnet_table3", validation=0.2), 1)
    everyone = [patients_of(cache, rows) for rows in parts_of(split)[0]]
    assert all(everyone)
    assert sum(len(part) for part in everyone) == len(set.union(*everyone))
    assert any("stands in two lists" in remark for remark in split.remarks)
