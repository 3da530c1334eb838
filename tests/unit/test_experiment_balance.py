"""Balancing: what is shown how often, what is mixed or pasted, and that nothing of the other parts gets in."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.caches import Made, cache_in_memory
from tests.small_protocols import small_protocol
from trainer.datasets.cache import Cache
from trainer.experiment.answers import Answering
from trainer.experiment.balance import epoch_entries, scan_steps, scans_of, steps_of
from trainer.experiment.batches import Slices
from trainer.experiment.fold_data import balance_remarks, fold_data
from trainer.experiment.predict import Asking
from trainer.experiment.protocol import BalanceSpec, InputSpec, LossSpec, NetSpec, SplitSpec
from trainer.experiment.smote import mix, mixed_slices
from trainer.experiment.smote_head import last_layer, refit_head
from trainer.experiment.split import Split, draw_split
from trainer.experiment.truth import name_blood, slice_truth, strata
from trainer.nets.registry import build_net


@pytest.fixture(scope="module")
def cache() -> Cache:
    return cache_in_memory(Made(patients=20, slices=4))


def split_of(cache: Cache) -> Split:
    return draw_split(cache, SplitSpec("patient", test=0.2, folds=2), 1)


class Watched(np.ndarray):
    """An array that notes which rows are read."""

    seen: set[int]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)):
            self.seen.add(int(key))
        elif isinstance(key, np.ndarray):
            self.seen.update(key.tolist())
        else:
            self.seen.add(-1)
        return np.asarray(self)[key]


def watched(cache: Cache) -> tuple[Cache, set[int]]:
    seen: set[int] = set()
    arrays = []
    for array in (cache.pixels, cache.masks):
        view = np.asarray(array).view(Watched)
        view.seen = seen
        arrays.append(view)
    return replace_arrays(cache, *arrays), seen


def replace_arrays(cache: Cache, pixels: np.ndarray, masks: np.ndarray) -> Cache:
    return Cache(cache.folder, cache.description, pixels, masks, cache.table)


@pytest.mark.parametrize("kind", ["none", "replicate", "sampler", "smote_pixel", "smote_feature", "paste"])
def test_balancing_never_sees_a_validation_or_test_slice(cache: Cache, kind: str) -> None:
    split, (spied, seen) = split_of(cache), watched(cache)
    fold = split.folds[0]
    protocol = small_protocol(balance=BalanceSpec(kind, factor=2, share=1.0))  # type: ignore[arg-type]
    data = fold_data(spied, slice_truth(cache), protocol, fold, 1)
    for start in range(0, len(data.entries), 8):
        data.slices.batch(data.entries[start : start + 8], data.change, (1, start))
    assert seen <= set(fold.train.tolist())
    assert seen & set(fold.train.tolist())
    real = data.entries[data.entries < len(cache.table)]
    assert set(real.tolist()) == set(fold.train.tolist())


def test_smote_mixes_only_what_it_is_given(cache: Cache) -> None:
    """Every made picture lies between two training pictures of its class."""
    truth, fold = slice_truth(cache), split_of(cache).folds[0]
    slices = Slices(cache, truth, InputSpec(size=32))
    made = mixed_slices(slices, fold.train, 1, seed=1)
    kinds, of = strata(truth[fold.train]), strata(made.labels)
    counts = np.bincount(kinds, minlength=8) + np.bincount(of, minlength=8)
    assert len(set(counts[counts > 0].tolist())) == 1
    for index in range(0, len(of), 7):
        parents = cache.pixels[fold.train[kinds == of[index]]].reshape(-1, 32 * 32).astype(np.float64)
        picture = made.pixels[index].reshape(-1).astype(np.float64)
        best = np.inf
        for first in parents:
            along = parents - first
            length = (along**2).sum(axis=1)
            share = np.clip((along @ (picture - first)) / np.maximum(length, 1e-9), 0, 1)
            best = min(best, np.abs(first + share[:, None] * along - picture).max(axis=1).min())
        assert best <= 1.0  # rounded to whole HU
        assert set(np.unique(made.masks[index])) <= {0, of[index]}


def test_smote_fills_up_to_a_multiple_of_the_largest_class_and_is_the_same_for_its_seed(cache: Cache) -> None:
    truth = slice_truth(cache)
    positive = np.flatnonzero(truth[:, 0] == 1).astype(np.int64)
    slices = Slices(cache, truth, InputSpec(size=32))
    made, again, other = (mixed_slices(slices, positive, 3, seed) for seed in (1, 1, 2))
    counts = np.bincount(strata(truth[positive]), minlength=6)[1:] + np.bincount(strata(made.labels), minlength=6)[1:]
    assert counts.tolist() == [12] * 5
    np.testing.assert_array_equal(made.pixels, again.pixels)
    assert (made.pixels != other.pixels).any()
    assert made.pixels.dtype == cache.pixels.dtype


@pytest.mark.parametrize("kind", ["none", "paste", "smote_feature", "replicate", "sampler"])
def test_what_nets_that_read_scans_do_not_follow_is_said(kind: Any) -> None:
    nets = (NetSpec("slice_classifier"), NetSpec("gate_2p5d"), NetSpec("gate_2p5d"))
    said = balance_remarks(small_protocol(nets=nets, balance=BalanceSpec(kind)))
    ignored = f"what the protocol says of balance ({kind}) holds for the other nets alone."
    found = [line for line in said if line.startswith("gate_2p5d reads whole scans") and line.endswith(ignored)]
    assert len(found) == (kind in ("replicate", "sampler"))


def test_a_class_of_one_is_repeated() -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    made, of = mix(vectors, np.array([0, 0, 4]), {4: 2}, seed=1)
    np.testing.assert_array_equal(made, [[4, 5], [4, 5]])
    assert of.tolist() == [4, 4]


def test_smote_of_whole_pictures_is_called_harmful_and_refused_for_large_sets(cache: Cache) -> None:
    assert "known to harm" in balance_remarks(small_protocol(balance=BalanceSpec("smote_pixel")))[0]
    assert balance_remarks(small_protocol(balance=BalanceSpec("sampler"))) == ()
    slices = Slices(cache, slice_truth(cache), InputSpec(size=32))
    with pytest.raises(ValueError, match="a few hundred slices"):
        mixed_slices(slices, np.arange(80), 100_000, 1)


def test_smote_of_features_moves_the_last_layer_alone(cache: Cache) -> None:
    torch.manual_seed(1)
    fold = split_of(cache).folds[0]
    spied, seen = watched(cache)
    protocol = small_protocol(loss=LossSpec(label="bce"))
    slices = Slices(spied, slice_truth(cache), protocol.input, masks_wanted=False)
    net = build_net("munet", {"widths": (8, 8, 8, 8, 8), "hidden": 8})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    refit_head(Answering(net), Asking(slices, protocol, torch.device("cpu"), 0), fold.train, seed=1)
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    layer = next(name for name, module in net.named_modules() if module is last_layer(net))
    assert moved == {f"{layer}.weight", f"{layer}.bias"}
    assert seen <= set(fold.train.tolist())
    with pytest.raises(ValueError, match="no linear layer"):
        last_layer(nn.Conv2d(1, 1, 1))


def test_pasted_lesions_come_with_their_masks_and_labels(cache: Cache) -> None:
    fold = split_of(cache).folds[0]
    protocol = small_protocol(balance=BalanceSpec("paste", share=0.6))
    data = fold_data(cache, slice_truth(cache), protocol, fold, 1)
    empty = fold.train[slice_truth(cache)[fold.train, 0] == 0]
    plain, pasted = data.slices.batch(empty), data.slices.batch(empty, data.change, (3,))
    again = data.slices.batch(empty, data.change, (3,))
    shown = pasted.mask.any(axis=(1, 2))
    assert 0.3 < shown.mean() < 0.9
    np.testing.assert_array_equal(pasted.labels[:, 0] == 1, shown)
    np.testing.assert_array_equal(pasted.image, again.image)
    np.testing.assert_array_equal(pasted.image[~shown], plain.image[~shown])
    brighter = (pasted.image - plain.image)[:, 0][pasted.mask > 0]
    assert (brighter > 0).mean() > 0.95
    far = np.abs(pasted.image - plain.image)[:, 0][(pasted.mask == 0) & (np.abs(pasted.image - plain.image)[:, 0] > 0)]
    assert len(far) < 3 * (pasted.mask > 0).sum()


def test_replication_shows_positive_slices_so_many_times(cache: Cache) -> None:
    truth = slice_truth(cache)
    entries = np.arange(len(truth), dtype=np.int64)
    shown = epoch_entries(entries, truth, BalanceSpec("replicate", factor=3), 0, np.random.default_rng(1))
    times = np.bincount(shown, minlength=len(entries))
    assert set(times[truth[:, 0] == 1].tolist()) == {3}
    assert set(times[truth[:, 0] == 0].tolist()) == {1}


def test_the_sampler_draws_every_class_equally_often(cache: Cache) -> None:
    truth = slice_truth(cache)
    entries = np.arange(len(truth), dtype=np.int64)
    shown = epoch_entries(entries, truth, BalanceSpec("sampler"), 3000, np.random.default_rng(1))
    counts = np.bincount(strata(truth[shown]))
    assert counts.sum() == 3000
    assert counts.min() > 400


@pytest.mark.parametrize("wanted", [0, 5, 17, 64])
def test_every_slice_is_shown_before_any_is_shown_again(wanted: int) -> None:
    entries, labels = np.arange(100, 117), np.zeros((200, 6), np.int8)
    shown = epoch_entries(entries, labels, BalanceSpec(), wanted, np.random.default_rng(1))
    assert len(shown) == (wanted or 17)
    times = np.bincount(shown - 100, minlength=17)
    assert times.max() - times.min() <= 1


def test_no_batch_is_a_single_slice() -> None:
    assert [len(step[0]) for step in steps_of(np.arange(17), 8)] == [8, 9]
    assert [len(step[0]) for step in steps_of(np.arange(18), 8)] == [8, 8, 2]
    assert [len(step[0]) for step in steps_of(np.arange(1), 8)] == [1]


def test_scans_are_whole_and_in_order(cache: Cache) -> None:
    entries = np.random.default_rng(1).permutation(np.arange(4, 24))
    scans = scans_of(cache, entries)
    assert [scan.tolist() for scan in scans] == [list(range(start, start + 4)) for start in range(4, 24, 4)]
    steps = scan_steps(scans, 2, 0, np.random.default_rng(1))
    assert [len(step) for step in steps] == [2, 2, 1]
    assert sorted(int(scan[0]) for step in steps for scan in step) == [4, 8, 12, 16, 20]
    assert len(scan_steps(scans, 2, 4, np.random.default_rng(1))) == 4


def test_blood_of_unknown_type_is_named_where_the_slice_shows_one_subtype() -> None:
    masks = np.full((3, 2, 2), 6, np.uint8)
    labels = np.array([[1, 0, 0, 1, 0, 0], [1, 1, 0, 1, 0, 0], [1, -1, 0, 1, 0, 0]], np.int8)
    name_blood(masks, labels)
    assert masks[:, 0, 0].tolist() == [3, 6, 6]


def test_a_balance_that_was_changed_is_another_protocol() -> None:
    protocol = small_protocol()
    assert replace(protocol, balance=BalanceSpec("sampler")) != protocol
