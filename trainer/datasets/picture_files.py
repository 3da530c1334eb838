"""Which files of a folder are pictures, and in which order people number them."""

from __future__ import annotations

import re
from pathlib import Path

from trainer.datasets.case import Unusable

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})

_NUMBERS = re.compile(r"(\d+)")


def natural_order(name: str) -> tuple[tuple[int, str], ...]:
    """Sorts "slice 10" after "slice 9"."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in _NUMBERS.split(name))


def picture_files(folder: Path) -> tuple[list[Path], list[Unusable]]:
    """The pictures that lie directly in a folder, in natural order, and the files that are none."""
    pictures: list[Path] = []
    others: list[Path] = []
    for one in folder.iterdir():
        if one.is_file():
            (pictures if one.suffix.lower() in SUFFIXES else others).append(one)
    pictures.sort(key=lambda one: (natural_order(one.name), one.name))
    return pictures, [Unusable(str(one), "it is no JPEG or PNG picture") for one in sorted(others)]
