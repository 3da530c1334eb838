"""What a bundle says of the InSilicoICH figures, beside what the size of the head alone says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from trainer.judge.findings import SEED, Row, Section, at_least
from trainer.judge.insilico import InSilicoFigure
from trainer.measures.figures import drawn
from trainer.measures.weighted import auc_of
from triage.inference.manifest import Figure
from triage.inference.predict import Predictor

AUC_AT_LEAST = 0.93
OVERLAPS_AT_LEAST = 6
OVERLAP_SHARE = 0.1
"""An outline overlaps a lesion when it covers at least this share of it: one pixel would be chance."""

_WHAT = (
    "Figures of another generator, window 0 to 80 HU, expanded as trainer/judge/insilico.py says; heads of 9 to 38 "
    "years with hardly any scalp. Slice and head size go along with the lesion: a score must beat the yardstick. "
    "Each is one slice: a net that reads neighbours is shown it as its own, which it hardly learned from."
)
_WHERE = (
    f"An outline overlaps from {OVERLAP_SHARE:.0%} of the lesion; where lesions lie was drawn by eye "
    "(trainer/judge/insilico_lesions.json)."
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One figure as the nets see it.

    Attributes
    ----------
    score : float
        Mask evidence: mean of the highest blood probability over the area that the bundle scores with.
    marked_mm2 : float
        Area of the outline.
    covered, inside : float or None
        Share of the lesion that the outline covers, and of the outline that lies on the lesion.
    """

    uid: int
    lesion: str
    attenuation_hu: float
    head_mm2: float
    score: float
    marked_mm2: float
    covered: float | None
    inside: float | None


def seen(predictor: Predictor, figure: InSilicoFigure, plain: bool = False) -> Seen:
    """Segment one figure, however unfamiliar a scan of one slice may be to the nets.

    ``plain`` takes the figure with bone by depth alone, see `trainer.judge.insilico.expanded`.
    """
    volume = figure.volume(plain)
    analysis = predictor.segment(volume, predictor.gate(volume, whatever=True), every_slice=True)
    marked = analysis.marked[0] > 0
    both = None if figure.outline is None else int((marked & figure.outline).sum())
    true = 0 if figure.outline is None else int(figure.outline.sum())
    return Seen(
        uid=figure.uid,
        lesion=figure.lesion or "none",
        attenuation_hu=figure.attenuation_hu if figure.lesion else 0.0,
        head_mm2=figure.head_mm2,
        score=float(analysis.evidence[0, 0]),
        marked_mm2=float(marked.sum()) * volume.pixel_spacing_mm[0] * volume.pixel_spacing_mm[1],
        covered=None if both is None else both / true,
        inside=None if both is None else both / max(1, int(marked.sum())),
    )


def insilico_section(predictor: Predictor, figures: Sequence[InSilicoFigure]) -> Section:
    """AUC of visible lesions against none, the yardstick, the faint ones, and how many outlines lie right."""
    all_seen = [seen(predictor, figure) for figure in figures]
    visible, faint, none = _parted(all_seen, figures)
    rows = _rows(visible, none, "")
    yardstick = _auc("yardstick: small head area instead of the score", visible, none, by_head=True)
    rows += [Row(one) for one in (*yardstick, *_auc(f"the {len(faint)} fainter lesions", faint, none))]
    plain_visible, _, plain_none = _parted([seen(predictor, figure, plain=True) for figure in figures], figures)
    rows += _rows(plain_visible, plain_none, ", bone by depth alone")
    return Section("InSilicoICH figures", tuple(rows), (_WHAT, _WHERE), tuple(asdict(one) for one in all_seen))


def _parted(all_seen: Sequence[Seen], figures: Sequence[InSilicoFigure]) -> tuple[list[Seen], list[Seen], list[Seen]]:
    """Visible lesions, fainter ones, none."""
    pairs = list(zip(all_seen, figures, strict=True))
    return (
        [one for one, of in pairs if of.visible],
        [one for one, of in pairs if of.lesion and not of.visible],
        [one for one, of in pairs if not of.lesion],
    )


def _rows(visible: list[Seen], none: list[Seen], how: str) -> list[Row]:
    name = f"mask score{how}: AUC of {len(visible)} lesions of 50 HU and more against {len(none)} without"
    rows = [at_least(area, AUC_AT_LEAST) for area in _auc(name, visible, none)]
    located = [one.covered for one in visible if one.covered is not None]
    if located:
        n, unit = len(located), "lesions"
        hits, share = float(sum(part >= OVERLAP_SHARE for part in located)), float(np.mean(located))
        over = Figure(f"outlines that overlap the lesion{how}", hits, hits, hits, n, unit)
        ends = (min(share, *located), max(share, *located))  # the mean of equal numbers may round past them
        mean = Figure(f"share of the lesion covered, mean{how}", share, *ends, n, unit, "smallest and largest")
        rows += [at_least(over, OVERLAPS_AT_LEAST), Row(mean)]
    return rows


def _auc(name: str, positive: list[Seen], negative: list[Seen], by_head: bool = False) -> list[Figure]:
    both = [*positive, *negative]
    scores = np.array([-one.head_mm2 if by_head else one.score for one in both])
    truth = np.array([True] * len(positive) + [False] * len(negative))
    return drawn(name, auc_of(scores, truth), "figures", SEED)
