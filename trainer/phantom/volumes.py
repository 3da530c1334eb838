"""How large and how dense made bleeds are: the published figures of real scans, drawn by normal score.

Per scan, from the FDA's table of the data set BHSD (192 scans, 1,873 components; public domain):
``BHSD_hemorrhage_characteristics.csv`` of DIDSR/framework-for-synthetic-ICH-to-assess-AI-generalizability. HU are
medians over the voxels of a lesion as a scanner shows them at 5 mm, so partial volume is in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triage.domain.finding import Subtype

SCORES = (-1.645, -0.674, 0.0, 0.674, 1.645)
"""Normal scores of the quantiles 5, 25, 50, 75 and 95 %."""

_EXTREME = 2.2
"""No bleed lies further out than this normal score."""


@dataclass(frozen=True, slots=True)
class Published:
    """One subtype: volume in ml at 5, 25, 50, 75 and 95 %; HU at 5, 50 and 95 %; median z-extent of a component."""

    volume_ml: tuple[float, float, float, float, float]
    hu: tuple[float, float, float]
    extent_mm: float


PUBLISHED = {
    Subtype.EDH: Published((0.45, 2.2, 5.1, 15.8, 38.0), (42.0, 58.0, 70.0), 20.0),
    Subtype.IPH: Published((0.35, 2.3, 9.3, 31.7, 83.0), (35.0, 51.0, 63.0), 15.0),
    Subtype.IVH: Published((0.14, 0.6, 2.3, 8.4, 45.0), (27.0, 40.0, 54.0), 15.0),
    Subtype.SAH: Published((0.21, 0.9, 1.9, 9.7, 44.0), (34.0, 44.0, 53.0), 5.0),
    Subtype.SDH: Published((0.69, 2.3, 6.0, 23.4, 74.0), (27.0, 51.0, 70.0), 6.0),
}

SUBTYPE_COUNTS = (50 / 192, 62 / 192, 63 / 192, 16 / 192, 1 / 192)
"""Share of positive heads with 1, 2, ... subtypes; several is the rule (74 %)."""

_CORE_OFFSET_HU = {Subtype.EDH: 1.5, Subtype.IPH: 1.0, Subtype.IVH: 3.0, Subtype.SAH: 1.5, Subtype.SDH: 0.0}
"""What partial volume takes from the HU of a lesion in slices of 5 mm."""


def volume_at(subtype: Subtype, score: float) -> float:
    """Volume in ml to be drawn for a normal score: log-linear between the published quantiles, and beyond."""
    logs = np.log(PUBLISHED[subtype].volume_ml)
    return float(np.exp(_interpolated(score, SCORES, logs)))


def measured_hu_at(subtype: Subtype, score: float) -> float:
    """HU of a lesion as measured in slices of 5 mm, for a normal score."""
    return _interpolated(score, SCORES[::2], np.array(PUBLISHED[subtype].hu))


def core_hu_at(subtype: Subtype, score: float) -> float:
    """HU to be painted, so that partial volume leaves the published one."""
    return _CORE_OFFSET_HU[subtype] + measured_hu_at(subtype, score)


def _interpolated(score: float, scores: tuple[float, ...], values: np.ndarray) -> float:
    """Linear between the points, continued at half the slope beyond them."""
    score = float(np.clip(score, -_EXTREME, _EXTREME))
    value = float(np.interp(score, scores, values))
    if score < scores[0]:
        value += 0.5 * (score - scores[0]) * float((values[1] - values[0]) / (scores[1] - scores[0]))
    if score > scores[-1]:
        value += 0.5 * (score - scores[-1]) * float((values[-1] - values[-2]) / (scores[-1] - scores[-2]))
    return value
