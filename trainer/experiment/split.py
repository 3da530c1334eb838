"""Who trains, who chooses the epoch, and who is set apart for the test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.cache import Cache
from trainer.datasets.case import NO, UNKNOWN, YES
from trainer.experiment.files import write_atomically
from trainer.experiment.named_split import NamedSplit, load_named_split, named_parts
from trainer.experiment.protocol import SplitSpec
from trainer.experiment.truth import slice_truth, strata

Rows = NDArray[np.int64]
"""Indices in a cache, ascending."""

_FINEST_SHARE = 20
"""Shares of patients are drawn as so many parts of at most this many folds."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """The slices that train, and those that choose the epoch; the second may be empty."""

    train: Rows
    validation: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Parts of one cache.

    Attributes
    ----------
    digest : str
        Of the cache; the rows mean nothing in another.
    unit : str
        ``image`` or ``patient``.
    test : ndarray of int64
        Locked: read by ``trainer evaluate`` alone.
    folds : tuple of Fold
        One for a hold-out.
    remarks : tuple of str
        Sentences to print, such as the defects of a published list.
    """

    digest: str
    unit: str
    test: Rows
    folds: tuple[Fold, ...]
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for fold in self.folds:
            every = np.concatenate([self.test, fold.train, fold.validation])
            if len(np.unique(every)) != len(every):
                raise ValueError("a slice stands in two parts of the split")
            if not len(fold.train):
                raise ValueError("the split leaves nothing to train on: use fewer folds or a smaller test part")


def draw_split(cache: Cache, spec: SplitSpec, seed: int, labels: NDArray[np.int8] | None = None) -> Split:
    """Draw the parts that a protocol asks for; the same seed draws the same.

    Parameters
    ----------
    labels : ndarray of int8, shape (slice, 6), or None
        What is known of every row, see `slice_truth`.

    Raises
    ------
    ValueError
        Patients are asked for and the data set names none, or there are too few.
    """
    known = slice_truth(cache) if labels is None else labels
    rng = np.random.default_rng(seed)
    patient = np.asarray(cache.table["patient"], np.int64)
    if (spec.unit == "patient" or spec.named) and (patient[cache.usable] < 0).any():
        raise ValueError(
            f"{cache.spec.dataset} does not say which slices belong to the same patient, so none can be kept in one "
            'part; only a protocol with split.unit = "image" and no named split can use it'
        )
    rows = selected_rows(cache, spec, known, rng)
    drawer = _Drawer(strata(known), patient if spec.unit == "patient" or spec.named else None)
    remarks: tuple[str, ...] = ()
    fixed: Rows | None = None
    if spec.named:
        named = load_named_split(spec.named)
        test, rest, fixed, remarks = _named(cache, named, rows, patient)
    else:
        test, rest = drawer.share(rows, spec.test, rng)
    if fixed is not None:
        folds = [Fold(rest, fixed)]
    elif spec.folds:
        folds = drawer.folds(rest, spec.folds, rng)
    else:
        validation, train = drawer.share(rest, spec.validation, rng)
        folds = [Fold(train, validation)]
    return Split(cache.description.digest, spec.unit, test, tuple(folds), remarks)


def selected_rows(cache: Cache, spec: SplitSpec, labels: NDArray[np.int8], rng: np.random.Generator) -> Rows:
    """Usable slices of which anything is known, after ``split.select``.

    Raises
    ------
    ValueError
        None is left.
    """
    usable = np.asarray(cache.usable, np.int64)
    any_blood = labels[usable, 0]
    if spec.select == "all":
        something = (labels[usable] != UNKNOWN).any(axis=1) | cache.table["drawn"][usable]
        chosen = usable[something]
    else:
        chosen = usable[any_blood == YES]
        if spec.select == "balanced":
            without = usable[any_blood == NO]
            count = min(len(chosen), len(without))
            chosen = np.concatenate([chosen, rng.choice(without, count, replace=False)])
    if not len(chosen):
        raise ValueError(f'split.select = "{spec.select}" leaves no slice of {cache.spec.dataset}')
    return np.sort(chosen)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawer:
    """Draws parts of rows, keeping patients whole where there are any; both arrays have one entry per cache row."""

    strata: NDArray[np.int64]
    patient: NDArray[np.int64] | None

    def share(self, rows: Rows, share: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """A stratified part of about this share, and the rest."""
        if share <= 0.0:
            return rows[:0], rows
        if self.patient is None:
            drawn = [
                rng.permutation(members)[: round(share * len(members))]
                for members in (rows[self.strata[rows] == kind] for kind in np.unique(self.strata[rows]))
            ]
            part = np.sort(np.concatenate(drawn))
        else:
            patients = len(np.unique(self.patient[rows]))
            if patients < 2:
                raise ValueError("one patient alone cannot be split; use more, or a share of 0")
            parts = Fraction(share).limit_denominator(min(_FINEST_SHARE, patients))
            if not 0 < parts < 1:
                parts = Fraction(1 if not parts else patients - 1, patients)
            folds = self.folds(rows, parts.denominator, rng)[: parts.numerator]
            part = np.sort(np.concatenate([fold.validation for fold in folds]))
        return part, np.setdiff1d(rows, part)

    def folds(self, rows: Rows, count: int, rng: np.random.Generator) -> list[Fold]:
        """Stratified folds whose validation parts together are all rows."""
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        units = len(rows) if self.patient is None else len(np.unique(self.patient[rows]))
        if units < count:
            what = "slices" if self.patient is None else "patients"
            raise ValueError(f"{units} {what} cannot fill {count} folds")
        kinds = _common(self.strata[rows], count)
        state = int(rng.integers(2**31))
        if self.patient is None:
            drawn = StratifiedKFold(count, shuffle=True, random_state=state).split(rows, kinds)
        else:
            drawn = StratifiedGroupKFold(count, shuffle=True, random_state=state).split(rows, kinds, self.patient[rows])
        folds = [Fold(rows[train], rows[held]) for train, held in drawn]
        if self.patient is not None and any(not len(fold.validation) for fold in folds):
            folds = self._even(rows, count, state)
        return folds

    def _even(self, rows: Rows, count: int, state: int) -> list[Fold]:
        """As many patients in every fold, for when strata would leave one empty."""
        assert self.patient is not None
        order = np.random.default_rng(state).permutation(np.unique(self.patient[rows]))
        held = [np.isin(self.patient[rows], order[number::count]) for number in range(count)]
        return [Fold(rows[~part], rows[part]) for part in held]


def _common(kinds: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Strata that every fold can have; where a subtype is too rare all blood is one, and at last all slices are."""
    coarse = np.where((kinds > 0) & (kinds <= 6), 1, kinds)
    for candidate in (kinds, coarse):
        if np.unique(candidate, return_counts=True)[1].min() >= count:
            return candidate
    return np.zeros_like(kinds)


def _named(
    cache: Cache, named: NamedSplit, rows: Rows, patient: NDArray[np.int64]
) -> tuple[Rows, Rows, Rows | None, tuple[str, ...]]:
    parts, remarks = named_parts(named, cache.description.patients)
    held = {part: rows[np.isin(patient[rows], numbers)] for part, numbers in parts.items()}
    fixed = held["validation"] if named.validation else None
    return held["test"], held["train"], fixed, remarks


def save_split(path: Path, split: Split, cache: Cache) -> None:
    """Write ``split.json``: rows, and for people the patients of every part."""

    def part(rows: Rows) -> dict[str, list[int] | list[str]]:
        numbers = np.unique(cache.table["patient"][rows])
        names = [cache.description.patients[number] for number in numbers if number >= 0]
        return {"rows": rows.tolist(), "patients": names}

    content = {
        "digest": split.digest,
        "unit": split.unit,
        "remarks": list(split.remarks),
        "test": part(split.test),
        "folds": [{"train": part(fold.train), "validation": part(fold.validation)} for fold in split.folds],
    }
    write_atomically(path, (json.dumps(content) + "\n").encode())


def load_split(path: Path, digest: str) -> Split:
    """Read what `save_split` wrote.

    Raises
    ------
    ValueError
        It was drawn from another cache, or is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        folds = tuple(Fold(_rows(fold["train"]), _rows(fold["validation"])) for fold in content["folds"])
        split = Split(
            content["digest"], content["unit"], _rows(content["test"]), folds, tuple(content.get("remarks", ()))
        )
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as exc:
        raise ValueError(f"{path} holds no split that this release can read") from exc
    if split.digest != digest:
        raise ValueError(f"{path} was drawn from another cache; train into a new folder")
    return split


def _rows(part: dict[str, list[int]]) -> Rows:
    return np.asarray(part["rows"], np.int64)
