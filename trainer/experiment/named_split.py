"""Published lists of patients: ``trainer/splits/<name>.toml``, with the defects that are known of them.

.. code-block:: toml

    title = "IHSNet, Table 3"
    source = "Ahmed & Prakasam, Sci Rep 2025, Table 3"
    defects = ["Patient 90 stands in no list though it has blood."]

    [parts]              # names as the data set writes them; leading zeros may be left out
    train = ["85", "91"]
    validation = []      # may be left out: then split.validation or split.folds draws from train
    test = ["80"]

A patient in two lists is kept in the last of train, validation, test alone, and a sentence says so: no list may put
one patient on both sides. Patients of the data set that stand in no list are left out, and counted.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

_CHECKED = ConfigDict(extra="forbid")


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class _Parts:
    train: tuple[str, ...]
    test: tuple[str, ...]
    validation: tuple[str, ...] = ()


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class _File:
    title: str
    source: str
    parts: _Parts
    defects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedSplit:
    """Patients of each part as published, and one sentence per known defect."""

    title: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    defects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError(f"the split {self.title!r} names nobody to train on")


_ADAPTER: TypeAdapter[_File] = TypeAdapter(_File)


def load_named_split(name: str) -> NamedSplit:
    """Read a split that comes with the trainer.

    Raises
    ------
    ValueError
        There is none of that name, or it cannot be read.
    """
    folder = resources.files("trainer") / "splits"
    source = folder / f"{name}.toml"
    if not source.is_file():
        known = sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
        raise ValueError(f"there is no split {name!r}; there are: {', '.join(known) or 'none'}")
    return read_named_split(source.read_text(encoding="utf-8"), name)


def read_named_split(text: str, name: str) -> NamedSplit:
    """Read the text of one file; ``name`` is for the sentence about what is wrong with it.

    Raises
    ------
    ValueError
        It is no TOML, or a key is unknown, missing or impossible.
    """
    try:
        read = _ADAPTER.validate_python(tomllib.loads(text))
    except (ValidationError, tomllib.TOMLDecodeError) as exc:
        raise ValueError(f"the split {name!r} cannot be read: {exc}") from exc
    parts = read.parts
    return NamedSplit(read.title, parts.train, parts.validation, parts.test, read.defects)


def named_parts(named: NamedSplit, patients: tuple[str, ...]) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Numbers of the patients of each part in a data set, and the sentences to print.

    Parameters
    ----------
    patients : tuple of str
        Names in the cache; the numbers are places in it.

    Raises
    ------
    ValueError
        The data set holds no patient of the training list.
    """
    places = {_plain(name): place for place, name in enumerate(patients)}
    lists = {"train": named.train, "validation": named.validation, "test": named.test}
    remarks = [f"{named.title}: {defect}" for defect in named.defects]
    taken: set[str] = set()
    parts: dict[str, NDArray[np.int64]] = {}
    for part in ("test", "validation", "train"):
        names = [_plain(name) for name in dict.fromkeys(lists[part])]
        twice = sorted(taken.intersection(names))
        remarks += [f"{named.title}: patient {name} stands in two lists and is left out of {part}" for name in twice]
        missing = [name for name in names if name not in places]
        if missing:
            remarks.append(f"{named.title}: the data set has no patient {', '.join(missing)} ({part})")
        numbers = {places[name] for name in names if name in places and name not in taken}
        parts[part] = np.array(sorted(numbers), np.int64)
        taken.update(names)
    unlisted = len(set(places) - taken)
    if unlisted:
        remarks.append(f"{named.title}: {unlisted} patients of the data set stand in no list and are left out")
    if not len(parts["train"]):
        raise ValueError(f"the data set holds no patient that {named.title} trains on")
    return parts, tuple(remarks)


def _plain(name: str) -> str:
    return name.lstrip("0") or "0"
