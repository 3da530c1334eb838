"""What a bundle makes of blood pasted into a real series, so that silence on the series does not win."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from trainer.judge.findings import SEED, Row, Section, at_least
from trainer.judge.intracranial import brain_masks, brightened_hu, heights
from trainer.judge.paste import PASTED, Inside, Lesion, Sizes, draw_lesion, pasted
from trainer.measures.bootstrap import Clusters
from trainer.measures.figures import drawn
from trainer.measures.interval import Flags
from trainer.measures.weighted import auc_of, mean_of, median_of
from trainer.real_series import part
from triage.domain.finding import Subtype
from triage.domain.volume import Volume
from triage.inference.predict import Predictor

LESIONS = 60
"""Of each subtype."""
SLICES = 16
"""Of the series at most, each pasted into in turn; as many as in the first experiment."""

FOUND_SHARE = 0.1
"""A lesion counts as found where the outline covers at least this share of it."""
AUC_AT_LEAST = {Subtype.EDH: 0.93, Subtype.IPH: 0.98, Subtype.SDH: 0.85}
SDH_RECALL_AT_LEAST = 0.7

_MADE = (
    "Made lesions (acute, 44 to 75 HU, brighter where bone brightens the brain of a slice, edges blurred, noise of "
    "the slice) in slices of one person, each with its neighbours; intervals draw slices, and say nothing of other "
    "heads. Of published volumes (2 to 40 ml), and as large as in the first experiment, whose results set the limits."
)
_FOUND = (
    f"A lesion is found where the outline covers {FOUND_SHARE:.0%} of it or more; the limit is on lesions found, and "
    "who reads recall as pixels looks at their mean share."
)
_SIZES: dict[Sizes, str] = {"published": "published volumes", "experiment": "sizes of the first experiment"}
_SEED = 72_000
_LOWEST = 0.18
"""Share of the brain's extent from which lesions are pasted: the temporal poles and all above."""
_SMALLEST_MM2 = 3500.0
"""Area of brain from which a slice is pasted into."""

_BESIDE = 0.8
"""Size of a lesion in the slices above and below the one that is judged."""


@dataclass(frozen=True, slots=True)
class Case:
    """One lesion, or none, in one slice: the mask's evidence, and how outline and lesion lie on each other.

    ``volume_ml`` is that of the whole lesion, ``area_mm2`` what of it lies in the slice; ``dice`` and ``recall`` are
    None where nothing was pasted.
    """

    subtype: str
    slice: int
    volume_ml: float
    hu: float
    area_mm2: float
    evidence: float
    dice: float | None
    recall: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """A slice with its neighbours, the lesion in them all, and where it truly is in the slice itself.

    Attributes
    ----------
    volume : Volume
        One to three slices.
    at : int
        Which of them is judged; ``index`` is its place in the series.
    truth : ndarray of bool, shape (row, column)
    """

    index: int
    volume: Volume
    at: int
    lesion: Lesion | None
    truth: Flags


def slices_for_pasting(volume: Volume, masks: NDArray[np.bool_]) -> list[int]:
    """Slices with enough brain above the skull base; at most `SLICES`, evenly spread."""
    areas_mm2 = masks.sum(axis=(1, 2)) * volume.pixel_spacing_mm[0] * volume.pixel_spacing_mm[1]
    where = heights(volume, masks)
    usable = np.flatnonzero((where >= _LOWEST) & (areas_mm2 >= _SMALLEST_MM2))
    if len(usable) <= SLICES:
        return [int(index) for index in usable]
    return [int(usable[round(place)]) for place in np.linspace(0, len(usable) - 1, SLICES)]


def untouched(volume: Volume, masks: NDArray[np.bool_]) -> Iterator[Planted]:
    """The same slices as they are."""
    for index in slices_for_pasting(volume, masks):
        chosen, at = _around(volume, index)
        yield Planted(index, part(volume, chosen), at, None, np.zeros(masks.shape[1:], dtype=np.bool_))


def planted(
    volume: Volume, masks: NDArray[np.bool_], subtype: Subtype, count: int, sizes: Sizes = "published"
) -> Iterator[Planted]:
    """``count`` slices with a lesion each, the same for the same series; the slices take turns.

    What brightens the brain of a slice brightens blood in it too: left at its own density, acute blood of 44 to 60 HU
    would be darker than brain at the vertex.
    """
    usable = slices_for_pasting(volume, masks)
    brighter_hu = brightened_hu(volume, masks)
    inside = {index: Inside(masks[index], volume.pixel_spacing_mm[0]) for index in range(len(masks))}
    streams = np.random.default_rng([_SEED, PASTED.index(subtype)]).spawn(count)
    for number, rng in enumerate(streams):
        index = usable[number % len(usable)]
        for_lesion, *for_slices = rng.spawn(4)
        lesion = draw_lesion(for_lesion, subtype, inside[index], sizes)
        chosen, at = _around(volume, index)
        images: list[NDArray[np.float32]] = []
        truth = np.zeros(masks.shape[1:], dtype=np.bool_)
        for place, one in enumerate(map(int, chosen)):
            here = lesion if place == at else lesion.smaller(_BESIDE)
            here = replace(here, hu=here.hu + float(brighter_hu[one]))
            image, mask = pasted(for_slices[place], volume.hu[one], inside[one], here)
            images.append(image)
            truth = mask if place == at else truth
        yield Planted(index, replace(part(volume, chosen), hu=np.stack(images)), at, lesion, truth)


def case_of(predictor: Predictor, one: Planted) -> Case:
    """Segment the slice and its neighbours, and look at the slice, however unfamiliar so short a scan may be."""
    analysis = predictor.segment(one.volume, predictor.gate(one.volume, whatever=True), every_slice=True)
    marked = analysis.marked[one.at] > 0
    both, true = int((marked & one.truth).sum()), int(one.truth.sum())
    pixel_mm2 = one.volume.pixel_spacing_mm[0] * one.volume.pixel_spacing_mm[1]
    return Case(
        subtype=str(one.lesion.subtype) if one.lesion else "none",
        slice=one.index,
        volume_ml=one.lesion.volume_ml if one.lesion else 0.0,
        hu=one.lesion.hu if one.lesion else 0.0,
        area_mm2=true * pixel_mm2,
        evidence=float(analysis.evidence[one.at, 0]),
        dice=2.0 * both / (true + int(marked.sum())) if true else None,
        recall=both / true if true else None,
    )


def pasted_section(predictor: Predictor, volume: Volume, name: str, count: int = LESIONS) -> Section:
    """AUC of pasted slices against the same slices untouched, Dice, and recall of subdural blood."""
    masks = brain_masks(volume)
    without = [case_of(predictor, one) for one in untouched(volume, masks)]
    rows: list[Row] = []
    cases = [{"sizes": "", **asdict(one)} for one in without]
    for sizes in get_args(Sizes):
        for subtype in PASTED:
            found = [case_of(predictor, one) for one in planted(volume, masks, subtype, count, sizes)]
            rows += _rows(f"{subtype}, {_SIZES[sizes]}", subtype, found, without)
            cases += [{"sizes": sizes, **asdict(one)} for one in found]
    return Section(f"Made lesions in {name}", tuple(rows), (_MADE, _FOUND), tuple(cases))


def _rows(name: str, subtype: Subtype, found: list[Case], without: list[Case]) -> list[Row]:
    scores = np.array([one.evidence for one in [*found, *without]])
    positive = np.array([True] * len(found) + [False] * len(without))
    area = drawn(
        f"{name}: mask AUC, {len(found)} pasted against {len(without)} untouched",
        auc_of(scores, positive),
        "slices",
        SEED,
        _by_slice([*found, *without]),
    )
    slices = _by_slice(found)
    dice = np.array([np.nan if one.dice is None else one.dice for one in found], np.float64)
    recall = np.array([np.nan if one.recall is None else one.recall for one in found], np.float64)
    hits = mean_of((recall >= FOUND_SHARE).astype(np.float64))
    share = drawn(f"{name}: recall, lesions found", hits, "slices", SEED, slices)
    pixels = drawn(f"{name}: recall, mean share of pixels", mean_of(recall), "slices", SEED, slices)
    middle = drawn(f"{name}: Dice, median", median_of(dice), "slices", SEED, slices)
    return [
        *(at_least(one, AUC_AT_LEAST[subtype]) for one in area),
        *(at_least(one, SDH_RECALL_AT_LEAST) if subtype is Subtype.SDH else Row(one) for one in share),
        *(Row(one) for one in (*pixels, *middle)),
    ]


def _by_slice(cases: list[Case]) -> Clusters:
    kept, index = np.unique([one.slice for one in cases], return_inverse=True)
    return Clusters(index, len(kept), "slices")


def _around(volume: Volume, index: int) -> tuple[NDArray[np.intp], int]:
    """The slice and those beside it, and which of them it is."""
    first = max(0, index - 1)
    return np.arange(first, min(len(volume.hu), index + 2)), index - first
