"""One made head as a scene, and a slice cut through it: training slices and whole studies come from here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from trainer.phantom.anatomy import BRAIN_CHANNELS, Anatomy, BrainFields, SkullFields
from trainer.phantom.conditions import (
    Condition,
    Opening,
    bulged,
    draw_opening,
    enhanced,
    paint_opening,
    with_metal,
)
from trainer.phantom.fields import COARSE, Floats, ramp
from trainer.phantom.ingredients import Ingredient, left_out
from trainer.phantom.lesions import Bleed, draw_bleeds, paint_bleeds
from trainer.phantom.mimics import Mimics, draw_mimics, paint_around, paint_metal, paint_mimics
from trainer.phantom.points import Point
from trainer.phantom.pose import Plane, Pose, draw_pose
from trainer.phantom.sample import Fields, Sample, Texture, Window, draw_texture, fold_points, part_of
from trainer.phantom.skull import AIR_HU, paint_outside
from trainer.phantom.tissue import Tissue, draw_tissue, fluid_fractions, paint_brain
from triage.domain.finding import SUBTYPES, Subtype

_MARGIN_MM = 14.0
"""The head may reach this far beyond the anatomy's own skin."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Everything that was drawn for one head; nothing in it depends on how it is cut.

    Attributes
    ----------
    mimics : Mimics, optional
        None where they are switched off.
    bleeds : tuple of Bleed
        In the order in which they were laid into the head; none in a negative.
    wobble_mm : float
        How far the brain lies off the anatomy's, by a smooth field of this standard deviation.
    opening : Opening, optional
        A piece of the vault that is not there.
    partial_volume : bool
        Whether a slice is averaged over its thickness.
    """

    anatomy: Anatomy
    pose: Pose
    texture: Texture
    tissue: Tissue
    mimics: Mimics | None
    bleeds: tuple[Bleed, ...]
    wobble_mm: float
    opening: Opening | None = None
    partial_volume: bool = True

    def height_mm(self, point_mm: Point) -> float:
        """Scanner z of a point in head coordinates."""
        return float(self.pose.to_scanner(np.array(point_mm))[2])

    @property
    def top_mm(self) -> float:
        """Scanner z of the vertex of the brain."""
        return self.height_mm((0.0, -18.0, self.anatomy.top_mm))


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One slice as an ideal scanner would see it, float32 (row, column).

    ``inner`` is the depth under the inner table in mm (negative outside), ``bone`` the fraction of bone;
    ``blood`` (5, row, column) the fraction of each subtype in the order of SUBTYPES.
    """

    hu: Floats
    inner: Floats
    bone: Floats
    blood: Floats

    def labels(self) -> np.ndarray:
        """Label uint8 (row, column): 0 none, i + 1 where more than half of the voxel is SUBTYPES[i]."""
        labels = np.zeros(self.hu.shape, np.uint8)
        for index, fraction in enumerate(self.blood):
            labels[fraction > 0.5] = index + 1
        return labels


def draw_head(
    rng: np.random.Generator,
    anatomy: Anatomy,
    *,
    bleeding: bool,
    subtypes: Sequence[Subtype] | None = None,
    pitch_deg: float = 9.0,
    larger: float = 0.0,
    condition: Condition | None = None,
    without: Collection[str] = (),
) -> Head:
    """Draw a head; ``subtypes`` forces which bleeds it has when ``bleeding``.

    Every ingredient has its own random stream, so that two heads of one seed differ only in what was asked.
    """
    for_pose, for_texture, for_tissue, for_mimics, for_bleeds, for_ring, for_condition = rng.spawn(7)
    missing = left_out(without)
    mimics = _mimics(for_mimics, anatomy, Ingredient.MIMICS not in missing, condition, for_condition)
    head = Head(
        anatomy=anatomy,
        pose=draw_pose(for_pose, pitch_deg, anatomy.typical_size),
        texture=draw_texture(for_texture),
        tissue=draw_tissue(for_tissue),
        mimics=mimics,
        bleeds=(),
        wobble_mm=for_pose.uniform(0.3, 1.6),
        opening=draw_opening(for_condition, condition, anatomy.surface),
        partial_volume=Ingredient.PARTIAL_VOLUME not in missing,
    )
    if bleeding:
        millilitres = float(1 / abs(np.linalg.det(head.pose.matrix)))
        bleeds = draw_bleeds(
            for_bleeds, anatomy, subtypes, partial(fields_in, head), millilitres=millilitres, larger=larger
        )
        head = replace(head, bleeds=bleeds)
    return replace(head, tissue=_ringed(for_ring, head.tissue)) if Ingredient.INNER_TABLE in missing else head


def _ringed(rng: np.random.Generator, tissue: Tissue) -> Tissue:
    """The tissue of a head with a dark ring of fluid under the skull. Drawn last: its bleeds stay where they were."""
    return replace(tissue, ring=rng.uniform(0.7, 1), ring_mm=rng.uniform(1.5, 3.5), cortex_glow=0.0)


def fields_in(head: Head, points: Floats, bleeds: tuple[Bleed, ...]) -> Fields:
    """All fields at ``points`` (3, slice, row, column), the fluid and the depth in mm, in a head with ``bleeds``."""
    whole = (slice(None), slice(None))
    sample = _sample(replace(head, bleeds=bleeds), points, head.anatomy.skull_at(points), whole)
    inner = sample.skull.inner - np.float32(head.tissue.inner_offset_mm)
    return sample, fluid_fractions(sample, head.tissue), inner


def _mimics(
    rng: np.random.Generator,
    anatomy: Anatomy,
    shown: bool,
    condition: Condition | None,
    for_condition: np.random.Generator,
) -> Mimics | None:
    """The mimics of a head, None where it has none; contrast agent and metal show whether or not they are wanted."""
    mimics = draw_mimics(rng, anatomy.surface)
    if condition is Condition.CONTRAST:
        return enhanced(for_condition, mimics, anatomy.surface)
    if condition is Condition.METAL:
        return with_metal(for_condition, mimics, anatomy.surface)
    return mimics if shown else None


def sub_slices(thickness_mm: float, slope: float = 0.0) -> int:
    """How many planes are averaged into a slice, 1 to 11.

    ``slope`` is how fast the skull moves across the slice, in mm per mm: 0 where it stands upright, 1 and more at
    the vertex, where a thick slice is half bone and half brain.
    """
    if thickness_mm <= 1.2:
        return 1
    upright = 2 if thickness_mm <= 2.5 else 3 if thickness_mm <= 6 else 5
    return int(np.clip(np.ceil(thickness_mm * min(slope, 1.5) / 1.3), upright, 11))


def cut(head: Head, plane: Plane, profile: float = 0.0) -> Cut:
    """The slice of ``head`` in ``plane``, averaged over its thickness. Its sides are multiples of `COARSE`.

    ``profile`` is how far the slice reaches into its neighbours on each side, as a share of its thickness: 0 for
    a single row of detectors, up to 0.5 for a spiral.
    """
    shape = (plane.rows, plane.columns)
    whole = Cut(
        hu=np.full(shape, AIR_HU, np.float32),
        inner=np.full(shape, -200, np.float32),
        bone=np.zeros(shape, np.float32),
        blood=np.zeros((len(SUBTYPES), *shape), np.float32),
    )
    box, slope = _box(head, plane)
    if box is None:
        return whole
    top, bottom, left, right = box
    offsets = _offsets(head, plane.thickness_mm, slope, profile)
    part = _cut_box(head, plane.cropped(top, bottom, left, right), offsets)
    window = np.s_[..., top:bottom, left:right]
    for target, source in ((whole.hu, part.hu), (whole.inner, part.inner), (whole.bone, part.bone)):
        target[window] = source
    whole.blood[window] = part.blood
    return whole


def _box(head: Head, plane: Plane) -> tuple[tuple[int, int, int, int] | None, float]:
    """The rows and columns around the head, multiples of `COARSE`, None where the plane misses it.

    And the slope of the skull in the slice, as in `sub_slices`.
    """
    points = head.pose.coarse_points(plane)
    skull = head.anatomy.skull_at(points)
    slope = 0.0
    edge = np.abs(skull.inner[0]) < 8
    if edge.any():
        turned = head.pose.matrix @ plane.normal
        above = head.anatomy.skull_at(points + (3 * turned).astype(np.float32).reshape(3, 1, 1, 1))
        slope = float(np.quantile(np.abs(above.inner[0] - skull.inner[0])[edge], 0.8)) / 3
    rows, columns = np.nonzero(skull.skin[0] > -_MARGIN_MM)
    if not len(rows):
        return None, slope
    box = (
        int(rows.min()) * COARSE,
        (int(rows.max()) + 1) * COARSE,
        int(columns.min()) * COARSE,
        (int(columns.max()) + 1) * COARSE,
    )
    return box, slope


def _offsets(head: Head, thickness_mm: float, slope: float, profile: float) -> NDArray[np.float64]:
    """Heights in mm of the planes of a slice above its middle; each stands for the same share of the slice."""
    count = sub_slices(thickness_mm, slope) if head.partial_volume else 1
    shares = (np.arange(count) + 0.5) / count - 0.5
    return np.asarray(shares * (1 + profile * (2 * shares) ** 4) * thickness_mm)


def _cut_box(head: Head, plane: Plane, offsets: NDArray[np.float64]) -> Cut:
    """A slice all of which is painted: from outside inwards, blood last, metal over all."""
    points = head.pose.points(plane, offsets)
    skull = head.anatomy.skull_at(points)
    if head.opening is not None:
        skull = replace(skull, inner=bulged(skull.inner, points, head.opening))
    inner = skull.inner - np.float32(head.tissue.inner_offset_mm)
    window = _inside(inner)
    sample = _sample(head, points, skull, window)
    outside = paint_outside(sample, head.tissue)
    hu, bone = outside.hu, outside.bone
    if head.mimics is not None:
        paint_around(hu, bone, sample, head.mimics, head.tissue.skull_mm, head.tissue.scalp_mm)
    if head.opening is not None:
        paint_opening(hu, bone, sample, head.opening)
    blood = np.zeros((len(SUBTYPES), plane.rows, plane.columns), np.float32)
    if window is not None:
        part = part_of(sample, window)
        depth = inner[..., *window]
        fluid = fluid_fractions(part, head.tissue)
        brain = paint_brain(part, head.tissue, fluid)
        if head.mimics is not None:
            paint_mimics(brain, part, fluid, depth, head.mimics)
        labels = paint_bleeds(brain, part, fluid, depth, head.bleeds)
        hu[..., *window] += (brain - hu[..., *window]) * ramp(depth)
        for index in np.unique(labels[labels > 0]):
            blood[index - 1][window] = (labels == index).mean(axis=0)
    if head.mimics is not None:
        paint_metal(hu, sample, head.mimics.metal)
    return Cut(hu=hu.mean(axis=0), inner=inner[len(offsets) // 2], bone=bone.mean(axis=0), blood=blood)


def _inside(inner: Floats) -> Window | None:
    """The window around the inside of the skull, its sides multiples of `COARSE`; None where there is none."""
    rows, columns = np.nonzero(inner.max(axis=0) > -1)
    if not len(rows):
        return None
    top, left = int(rows.min()) // COARSE * COARSE, int(columns.min()) // COARSE * COARSE
    bottom, right = -(-(int(rows.max()) + 1) // COARSE) * COARSE, -(-(int(columns.max()) + 1) // COARSE) * COARSE
    return slice(top, bottom), slice(left, right)


def _sample(head: Head, points: Floats, skull: SkullFields, window: Window | None) -> Sample:
    """All fields at ``points`` (3, slice, row, column); those of the brain only in ``window``, 0 beyond it."""
    broad = head.texture.broad.sample(points)
    fine = head.texture.fine.sample(points)
    inside_points = points.copy()
    empty = np.zeros(points.shape[1:], np.float32)
    brain = BrainFields(*(empty.copy() for _ in BRAIN_CHANNELS))
    folds = empty
    if window is not None:
        near = np.ascontiguousarray(points[..., *window])
        moved = near.copy()
        for axis in range(3):
            moved[axis] += np.float32(head.wobble_mm) * broad[axis][..., *window]
        for bleed in head.bleeds:
            if bleed.push is not None:
                moved += bleed.push.undo(near)
        inside_points[..., *window] = moved
        found = head.anatomy.brain_at(moved)
        for channel in BRAIN_CHANNELS:
            getattr(brain, channel)[..., *window] = getattr(found, channel)
        folds[..., *window] = head.texture.folds.sample(fold_points(moved, part_of(fine, window)))[0]
    return Sample(
        points=points, inside_points=inside_points, skull=skull, brain=brain, broad=broad, fine=fine, folds=folds
    )
