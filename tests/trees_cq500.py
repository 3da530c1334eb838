"""A small SYNTHETIC copy of CQ500 as its archives unpack: doubled names, several series each, three readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.builders import ct_series, part10
from tests.trees import write_rows

READ_COLUMNS = (
    *("ICH", "IPH", "IVH", "SDH", "EDH", "SAH", "BleedLocation-Left", "BleedLocation-Right", "ChronicBleed"),
    *("Fracture", "CalvarialFracture", "OtherFracture", "MassEffect", "MidlineShift"),
)
HEADER = ",".join(["name", "Category", *(f"R{reader}:{column}" for reader in (1, 2, 3) for column in READ_COLUMNS)])

Votes = Sequence[Sequence[str]]
"""What each of the three readers saw, by column."""


@dataclass(frozen=True)
class Cq500Series:
    """A series: its folder, and what `tests.builders.ct_series` is told. ``lost`` slices are missing or cut short."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    slices: int = 24
    missing: Sequence[int] = ()
    cut: Sequence[int] = ()


@dataclass(frozen=True)
class Cq500Patient:
    """A patient: the folder, the name in ``reads.csv``, the votes, the series."""

    folder: str
    name: str
    votes: Votes
    series: Sequence[Cq500Series]


def chest(side: int = 64) -> NDArray[np.float64]:
    """A slice of a body with two lungs and no skull."""
    y, x = np.mgrid[0:side, 0:side].astype(float) / (side - 1) - 0.5
    hu = np.where((x / 0.48) ** 2 + (y / 0.36) ** 2 <= 1, 40.0, -1000.0)
    for left in (-0.2, 0.2):
        hu[((x - left) / 0.14) ** 2 + (y / 0.25) ** 2 <= 1] = -850.0
    return hu


PLAIN = Cq500Series("CT 5mm Plain")
THIN = Cq500Series("CT PLAIN THIN", {"thickness_mm": 2.5, "step_mm": 2.5}, slices=48)

CQ500_PATIENTS = (
    Cq500Patient(
        "CQ500CT12 CQ500CT12",
        "CQ500-CT-12",
        (("ICH", "SDH"), ("ICH", "SDH", "EDH"), ("ICH", "IPH", "Fracture")),
        (
            THIN,
            PLAIN,
            Cq500Series("CT BONE", {"ConvolutionKernel": "H60s"}),
            Cq500Series("CT POST CONTRAST"),
            Cq500Series("CT 4cc sec 150cc D3D on"),
            Cq500Series("CT 0.625mm", {"ConvolutionKernel": "BONEPLUS"}),
            Cq500Series("CT 5mm", {"ContrastBolusAgent": "OMNIPAQUE"}),
        ),
    ),
    Cq500Patient(
        "CQ500_CT_45", "CQ500-CT-45", ((), ("ICH",), ()), (Cq500Series("CT_5mm_Plain", {"tilt_degrees": 18}),)
    ),
    Cq500Patient(
        "CQ500CT45-1 CQ500CT45-1",
        "CQ500-CT-45-1",
        (("ICH", "IVH"), ("ICH", "IVH"), ("ICH",)),
        (Cq500Series("CT PRE CONTRAST 5MM STD", {"SeriesDescription": None}),),
    ),
    Cq500Patient(
        "CQ500CT172 CQ500CT172",
        "CQ500-CT-172",
        ((), (), ()),
        (
            Cq500Series("CT Thin PLAIN", {"hu": chest(), "spacing_mm": 5.0, "ConvolutionKernel": "H30s"}),
            Cq500Series("CT Plain-2", {"thickness_mm": 8.0, "step_mm": 8.0}, slices=16),
        ),
    ),
)


def save_series(folder: Path, series: Cq500Series) -> None:
    """Write the files of a series, from CT000000.dcm."""
    folder.mkdir(parents=True)
    options = {"SeriesDescription": series.name, **series.options}
    for index, ds in enumerate(ct_series(series.slices, **options)):
        content = part10(ds)
        if index not in series.missing:
            (folder / f"CT{index:06d}.dcm").write_bytes(content[:-500] if index in series.cut else content)


def reads_row(name: str, votes: Votes) -> list[object]:
    """A row of ``reads.csv``."""
    return [name, "B1", *(int(column in seen) for seen in votes for column in READ_COLUMNS)]


def cq500_tree(root: Path, patients: Sequence[Cq500Patient] = CQ500_PATIENTS) -> Path:
    """The archives unpacked beside each other, with ``reads.csv``."""
    for patient in patients:
        for series in patient.series:
            save_series(root / patient.folder / "Unknown Study" / series.name, series)
    write_rows(root / "reads.csv", HEADER, [reads_row(one.name, one.votes) for one in patients], mark=False)
    (root / "prediction_probabilities.csv").write_text("name\n", encoding="utf-8")
    return root
