"""What the daemon says of a real series without labels and of its copies."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from trainer.demonstration.evaluate import FALSE_BLOOD_ML
from trainer.judge.findings import Row, Section, at_most
from trainer.judge.intracranial import brain_masks, is_mid_brain
from trainer.real_series import copies_of, gate_of
from triage.domain.errors import UnusableSeries
from triage.domain.finding import WorklistStatus
from triage.domain.volume import Volume
from triage.inference.manifest import Figure
from triage.inference.predict import Predictor

MOST_FALSE_SLICES = 4
_ORIGIN = (
    "A development set by now: made heads were changed after looking at it, and where a bundle was made with --quiet "
    "and this series, its suspected limit was raised until these very copies stay below. That it shows no blood is a "
    "layman's reading. One head and its copies allow no interval."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one copy.

    Attributes
    ----------
    status : str
        As in the worklist; ``not_analysed`` with the reason in ``refused`` where the input check stops it.
    false_slices : tuple of int
        Slices with `FALSE_BLOOD_ML` or more of outline when every slice is segmented, numbered from 0 along the
        normal of the series, which is from the feet up for a head that lies on its back.
    false_mid_brain : tuple of int
        Those of them in mid-brain.
    mid_brain : int
        How many slices lie in mid-brain.
    """

    name: str
    status: str
    score: float | None
    slices: int
    marked_ml: float
    false_slices: tuple[int, ...]
    false_mid_brain: tuple[int, ...]
    mid_brain: int
    refused: str = ""


def answer_to(predictor: Predictor, volume: Volume, name: str) -> Answer:
    """Ask as the daemon asks, then once more with every slice segmented to see where blood is outlined.

    Of what the daemon refuses nothing is outlined.
    """
    try:
        gate = gate_of(predictor, volume)
    except UnusableSeries as exc:
        said = str(WorklistStatus.NOT_ANALYSED)
        return Answer(name, said, None, len(volume.hu), 0.0, (), (), 0, f"{exc.reason}: {exc}")
    result = predictor.segment(volume, gate).result
    per_slice = np.count_nonzero(predictor.segment(volume, gate, every_slice=True).marked, axis=(1, 2))
    ml = per_slice * volume.voxel_ml
    middle = is_mid_brain(volume, brain_masks(volume))
    false = ml >= FALSE_BLOOD_ML
    return Answer(
        name=name,
        status=str(result.status),
        score=result.score,
        slices=len(ml),
        marked_ml=float(ml.sum()),
        false_slices=tuple(map(int, np.flatnonzero(false))),
        false_mid_brain=tuple(map(int, np.flatnonzero(false & middle))),
        mid_brain=int(middle.sum()),
    )


def series_section(predictor: Predictor, volume: Volume, name: str) -> Section:
    """The limits that hold for the series and for every copy; nothing is counted in a copy that was refused."""
    answers = [answer_to(predictor, copy, of) for of, copy in copies_of(volume).items()]
    rows: list[Row] = []
    for one in answers:
        calm = one.status == WorklistStatus.NOT_SUSPECTED
        score = Figure(f"{one.name}: score", one.score or 0.0, one.score or 0.0, one.score or 0.0, 1, "series")
        rows.append(Row(score, "analysed and not suspected", calm))
        if one.refused:
            continue
        rows.append(
            at_most(_count(f"{one.name}: slices of false blood", one.false_slices, one.slices), MOST_FALSE_SLICES)
        )
        rows.append(at_most(_count(f"{one.name}: of them in mid-brain", one.false_mid_brain, one.mid_brain), 0))
    remarks = (
        _ORIGIN,
        f"False blood: {FALSE_BLOOD_ML} ml or more of outline on a slice when every slice is segmented.",
    )
    cases = tuple(asdict(one) for one in answers)
    return Section(f"Real series {name} and its copies", tuple(rows), remarks, cases)


def _count(name: str, found: tuple[int, ...], n: int) -> Figure:
    count = float(len(found))
    return Figure(name, count, count, count, max(1, n), "slices")
