"""Small SYNTHETIC copies of the two Kaggle data sets of pictures, with their quirks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.trees import blood, head


def grey_head(index: int, rows: int = 64, columns: int = 64, *, bleeding: bool = False) -> NDArray[np.uint8]:
    """A windowed head; every index is another one."""
    hu = head(8, index % 8)
    if bleeding:
        hu[blood()] = 70
    grey = np.clip((hu + 20.0) / 120.0 * 255, 0, 255).astype(np.uint8)
    grey[-1, -1] = index % 256
    return np.asarray(Image.fromarray(grey).resize((columns, rows)))


def save_picture(path: Path, grey: NDArray[np.uint8], mode: str = "RGB") -> None:
    """Write a picture in the colour mode that the data set uses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey).convert(mode).save(path)


CYPRUS_NORMAL: Mapping[str, int] = {"N1[2 mm]": 3, "N2[5 mm]": 12, "N2[copy]": 2, "7[a]": 2}
CYPRUS_BLEEDING: Mapping[str, int] = {"P1": 4, "P2 [kontrol]": 3, "7": 2}
"""Pictures by folder. N2 has two folders, and somebody is called 7 in both parts."""


def cyprus_tree(
    root: Path,
    normal: Mapping[str, int] = CYPRUS_NORMAL,
    bleeding: Mapping[str, int] = CYPRUS_BLEEDING,
    flat: int = 0,
) -> Path:
    """``Data/NORMAL`` with folders, or flat, and ``Data/Hemorrhagic/KANAMA``."""
    index = 0
    for part, folders in (("NORMAL", normal), ("Hemorrhagic/KANAMA", bleeding)):
        for folder, count in folders.items():
            for number in range(1, count + 1):
                index += 1
                picture = grey_head(index, bleeding=part != "NORMAL" and number == 1)
                save_picture(root / "Data" / part / folder / f"{number}.jpg", picture)
    for number in range(flat):
        save_picture(root / "Data" / "NORMAL" / f"slice{number}.jpg", grey_head(100 + number))
    return root


KITAMURA_LABELS = (1, 1, 1, 0, 0, 0, 1, 0)


def kitamura_tree(root: Path, labels: Sequence[int] = KITAMURA_LABELS) -> Path:
    """``head_ct/head_ct/NNN.png`` of all sizes, some RGBA, and the header with its space; ids are not padded."""
    for number, label in enumerate(labels):
        picture = grey_head(number, 60 + 7 * number, 70 + 5 * number, bleeding=label == 1)
        save_picture(root / "head_ct" / "head_ct" / f"{number:03d}.png", picture, "RGBA" if number % 3 == 1 else "RGB")
    rows = [f"{number},{label}" for number, label in enumerate(labels)]
    (root / "labels.csv").write_text("\n".join(["id, hemorrhage", *rows, ""]), encoding="utf-8")
    return root
