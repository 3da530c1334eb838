"""Made bleeding: five subtypes as solid shapes in the head, with the volumes and HU of published tables.

Each bleed is placed by anatomy, sized until its volume in this very head is the one drawn, and painted after
everything else that lies inside the skull, so that it is as dense beside bone as elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trainer.phantom.anatomy import Anatomy
from trainer.phantom.fields import Floats
from trainer.phantom.fitting import Probe, fitted
from trainer.phantom.placing import PLACE, Placed
from trainer.phantom.points import Point, as_point
from trainer.phantom.sample import Fields, Fluid, Sample, Window, part_of
from trainer.phantom.shapes import Clot, Push, Shape
from trainer.phantom.volumes import SUBTYPE_COUNTS, core_hu_at, volume_at
from triage.domain.finding import SUBTYPES, Subtype

_SUBTYPE_WEIGHTS = {Subtype.EDH: 0.17, Subtype.IPH: 0.22, Subtype.IVH: 0.17, Subtype.SAH: 0.22, Subtype.SDH: 0.22}
"""More even than in real scans, where an epidural bleed is rare: each has to be learnt."""

_ORDER = (Subtype.EDH, Subtype.SDH, Subtype.IPH, Subtype.IVH, Subtype.SAH)
"""What pushes the brain aside comes first; what lies in fluid follows the fluid to where it was pushed."""

_MARGIN_MM = 14.0
"""How far a bleed may reach beyond the box of its shape, by pushes and wobble and with its oedema."""

_BLOCK = 8
"""Where a bleed may lie in a slice is looked for on every eighth pixel."""


@dataclass(frozen=True, slots=True)
class Bleed:
    """One bleed.

    Attributes
    ----------
    hu : float
        Of its core, with ``fine_hu`` and ``broad_hu`` of unevenness.
    level_drop_hu : float
        By how much the fluid above a level within it is less dense; 0 without a level.
    swirl_hu : float
        By how much fresh, unclotted parts are less dense: active bleeding.
    oedema_hu, oedema_mm
        Depth and width of the dark rim around it.
    push : Push, optional
        What it displaces.
    """

    subtype: Subtype
    shape: Shape
    centre: Point
    hu: float
    fine_hu: float
    broad_hu: float
    level_drop_hu: float
    swirl_hu: float
    oedema_hu: float
    oedema_mm: float
    push: Push | None


FieldsWith = Callable[[Floats, tuple[Bleed, ...]], Fields]
"""The fields at points (3, slice, row, column) of a head that has these bleeds."""


def draw_bleeds(
    rng: np.random.Generator,
    anatomy: Anatomy,
    subtypes: Sequence[Subtype] | None,
    fields: FieldsWith,
    *,
    millilitres: float = 1.0,
    larger: float = 0.0,
) -> tuple[Bleed, ...]:
    """Draw the bleeds of one positive head.

    Parameters
    ----------
    subtypes : sequence of Subtype, optional
        Forces which; else some are drawn, several in 74 % of heads.
    fields : callable
        Looks into the head, so that each bleed gets its volume in it.
    millilitres : float
        Volume in the scanner of one ml in head coordinates.
    larger : float
        By how many standard deviations of the normal score bleeds are larger than the published ones.

    Raises
    ------
    ValueError
        If one of ``subtypes`` has no shape of its own.
    """
    for_choice, *streams = rng.spawn(1 + len(SUBTYPES))
    if subtypes is None:
        subtypes = draw_subtypes(for_choice)
    unknown = [subtype for subtype in subtypes if subtype not in SUBTYPES]
    if unknown:
        raise ValueError(f"no bleed can be made as {', '.join(unknown)}: subtypes are {', '.join(SUBTYPES)}")
    bleeds: tuple[Bleed, ...] = ()
    for subtype in sorted(subtypes, key=_ORDER.index):

        def look(points: Floats, present: tuple[Bleed, ...] = bleeds) -> Fields:
            return fields(points, present)

        stream = streams[SUBTYPES.index(subtype)]
        bleeds = (*bleeds, draw_bleed(stream, anatomy, subtype, Probe(look, millilitres), larger=larger))
    return bleeds


def draw_subtypes(rng: np.random.Generator) -> list[Subtype]:
    """Which subtypes a positive head has, each at most once: several in 74 % of heads."""
    count = 1 + int(rng.choice(len(SUBTYPE_COUNTS), p=SUBTYPE_COUNTS))
    weights = [_SUBTYPE_WEIGHTS[subtype] for subtype in SUBTYPES]
    chosen = rng.choice(len(SUBTYPES), size=count, replace=False, p=np.divide(weights, sum(weights)))
    return [SUBTYPES[int(index)] for index in chosen]


def draw_bleed(
    rng: np.random.Generator,
    anatomy: Anatomy,
    subtype: Subtype,
    probe: Probe,
    *,
    larger: float = 0.0,
    score: float | None = None,
) -> Bleed:
    """Draw one bleed; ``score``, where given, is the normal score of its volume instead of a drawn one."""
    for_size, for_place, for_look = rng.spawn(3)
    drawn = for_size.normal() + larger
    wanted_ml = volume_at(subtype, drawn if score is None else score)
    placed = PLACE[subtype](for_place, anatomy, wanted_ml)
    shape = fitted(placed.shape, wanted_ml, probe, placed.scales)
    return _bleed(for_look, subtype, replace(placed, shape=shape), wanted_ml)


def _bleed(rng: np.random.Generator, subtype: Subtype, placed: Placed, volume_ml: float) -> Bleed:
    """How a placed bleed looks and what it pushes."""
    hu = core_hu_at(subtype, rng.normal())
    layered = rng.random() < (0.12 if subtype in (Subtype.SDH, Subtype.IPH) else 0.0)
    swirled = rng.random() < (0.12 if subtype in (Subtype.SDH, Subtype.IPH, Subtype.EDH) else 0.0)
    drop, swirl = rng.uniform(8, 20), rng.uniform(10, 24)
    rim = rng.uniform(1, 12) if rng.random() < 0.8 else 0.0
    return Bleed(
        subtype=subtype,
        shape=placed.shape,
        centre=placed.centre,
        hu=hu,
        fine_hu=rng.uniform(0.3, 3),
        broad_hu=rng.uniform(0, 3),
        level_drop_hu=drop if layered and volume_ml > 3 else 0.0,
        swirl_hu=swirl if swirled and volume_ml > 5 and hu > 45 else 0.0,
        oedema_hu=rim if subtype is Subtype.IPH else 0.0,
        oedema_mm=rng.uniform(2, 4) + 1.2 * volume_ml ** (1 / 3),
        push=_push(rng, placed, volume_ml),
    )


def _push(rng: np.random.Generator, placed: Placed, volume_ml: float) -> Push | None:
    """Brain pushed aside: outwards by a clot in it, and towards the midline, which shifts, from the inner table."""
    side = volume_ml ** (1 / 3)
    share = rng.uniform(0.4, 1.1)
    if isinstance(placed.shape, Clot):
        radius = placed.shape.radii_mm[0] * placed.shape.scale
        return Push(placed.centre, 0.3 * share * radius, 2.2 * radius, None) if volume_ml > 2 else None
    if volume_ml < 5 or not placed.pushes:
        return None
    target = np.array([0.0, -18.0, 8.0]) - np.array(placed.centre)
    shift_mm = min(13.0, 2.2 * side) * share
    return Push(placed.centre, shift_mm, 75.0, as_point(target / np.linalg.norm(target)))


def paint_bleeds(
    brain: Floats, sample: Sample, fluid: Fluid, inner: Floats, bleeds: Sequence[Bleed]
) -> NDArray[np.uint8]:
    """Put blood into ``brain`` (slice, row, column) in place and return its labels, 0 none, i + 1 SUBTYPES[i].

    Where two bleeds meet, the first of them stays.
    """
    labels = np.zeros(brain.shape, np.uint8)
    for bleed in bleeds:
        window = _window(sample.points, bleed)
        if window is not None:
            near, wet = part_of(sample, window), part_of(fluid, window)
            _paint(brain[..., *window], labels[..., *window], near, wet, inner[..., *window], bleed)
    return labels


def _paint(brain: Floats, labels: NDArray[np.uint8], sample: Sample, fluid: Fluid, inner: Floats, bleed: Bleed) -> None:
    """One bleed with its oedema into ``brain`` and ``labels`` (slice, row, column), in place."""
    mask = bleed.shape.covers(sample, fluid, inner) & (inner > 0) & (labels == 0)
    if bleed.oedema_hu and isinstance(bleed.shape, Clot):
        depth = bleed.shape.depth(sample)
        swelling = np.clip(1 + depth / np.float32(bleed.oedema_mm), 0, 1) * (depth < 0) * (labels == 0)
        brain -= np.float32(bleed.oedema_hu) * swelling * (1 - fluid.total())
    if not mask.any():
        return
    value = bleed.hu + np.float32(bleed.fine_hu) * sample.fine[3] + np.float32(bleed.broad_hu) * sample.broad[3]
    if bleed.level_drop_hu:
        value -= np.float32(bleed.level_drop_hu) * (sample.points[1] > bleed.centre[1])
    if bleed.swirl_hu:
        value -= np.float32(bleed.swirl_hu) * np.clip(sample.broad[2] + 0.6 * sample.fine[0] - 0.6, 0, 1)
    np.copyto(brain, value.astype(np.float32, copy=False), where=mask)
    labels[mask] = SUBTYPES.index(bleed.subtype) + 1


def _window(points: Floats, bleed: Bleed) -> Window | None:
    """The rows and columns in which ``bleed`` may lie, None where the slice misses it."""
    low, high = bleed.shape.box()
    margin = _MARGIN_MM + bleed.oedema_mm * (bleed.oedema_hu > 0)
    coarse = points[:, :, ::_BLOCK, ::_BLOCK]
    near = np.ones(coarse.shape[1:], bool)
    for axis in range(3):
        near &= (coarse[axis] > low[axis] - margin) & (coarse[axis] < high[axis] + margin)
    rows, columns = np.nonzero(near.any(axis=0))
    if not len(rows):
        return None
    top, left = _BLOCK * max(int(rows.min()) - 1, 0), _BLOCK * max(int(columns.min()) - 1, 0)
    bottom, right = _BLOCK * (int(rows.max()) + 1), _BLOCK * (int(columns.max()) + 1)
    return slice(top, bottom), slice(left, right)
