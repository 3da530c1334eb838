"""Shipped experiments in miniature: their own nets made narrow, on 32 pixels, with few steps; and SYNTHETIC data.

Every other key of a protocol file is as shipped: splits, balance, augmentation, loss, schedule, remarks.
"""

from __future__ import annotations

import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from tests.small_protocols import NARROW
from tests.trees import EDH, IPH, IVH, SAH, SDH, PhysionetScan, blood
from tests.trees_pictures import cyprus_tree, grey_head, save_picture

SIZE = 32


def miniature(name: str, folder: Path) -> Path:
    """Write a shipped experiment as a protocol file that trains in seconds; ten folds become two.

    What happens at a late epoch (freezing, checkpoints) happens at the second and last one.
    """
    shipped = resources.files("trainer") / "protocols" / "experiments" / f"{name}.toml"
    plan = tomllib.loads(shipped.read_text(encoding="utf-8"))
    plan["input"]["size"] = SIZE
    if plan["split"].get("folds"):
        plan["split"]["folds"] = 2
    fit = plan["fit"]
    late = [key for key in ("freeze_at", "checkpoint_every") if fit.get(key)]
    fit |= {"epochs": 2 if late else 1, "batch": 4, "steps_per_epoch": 2} | dict.fromkeys(late, 2)
    plan["nets"] = [{"name": net["name"], "options": NARROW[net["name"]]} for net in plan["nets"]]
    plan["grid"] = {key: values for key, values in plan.get("grid", {}).items() if not key.startswith("fit.")}
    path = folder / f"{name}.toml"
    path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in plan.items()), encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


LISTED_SCANS = tuple(
    PhysionetScan(patient, 4, {2: [subtype], 3: [subtype]} if subtype is not None else {})
    for patient, subtype in {
        85: IVH, 91: IVH, 58: IPH, 69: IPH, 76: SAH, 82: SAH, 71: SDH, 74: SDH, 52: EDH, 53: EDH,
        80: IVH, 79: IPH, 70: SAH, 51: SDH, 49: EDH, 87: EDH,
        100: None, 101: None, 102: None, 103: None, 104: None, 105: None,
    }.items()
)  # fmt: skip
"""Patients of both of paper 004's lists, under their own numbers and subtypes, and some without blood."""


def kaggle_tree(root: Path) -> Path:
    """The layout of paper 000's set: eight patients without blood, eight with."""
    return cyprus_tree(root, {f"N{n}[5 mm]": 3 for n in range(8)}, {f"P{n}": 3 for n in range(8)})


def mri_tree(root: Path) -> Path:
    """Pictures with masks of ten subjects, as whoever has data like those of paper 003 may lay them out."""
    for subject in range(10):
        for number in range(1, 5):
            bleeding = number in (2, 3)
            place = Path(f"subject {subject}", "t2", f"{number}.png")
            save_picture(root / "images" / place, grey_head(4 * subject + number, bleeding=bleeding))
            mask = np.where(blood(), 255, 0).astype(np.uint8) * bleeding
            save_picture(root / "masks" / place, mask.astype(np.uint8), "L")
    return root
