"""One made head as a scene, and a slice cut through it: training slices and whole studies come from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.phantom.anatomy import Anatomy
from trainer.phantom.fields import Floats, ramp
from trainer.phantom.lesions import Bleed, draw_bleeds, paint_bleeds
from trainer.phantom.mimics import Mimics, draw_mimics, paint_mimics, paint_scalp
from trainer.phantom.pose import COARSE, Plane, Pose, draw_pose
from trainer.phantom.skull import AIR, paint_outside
from trainer.phantom.tissue import (
    Sample,
    Texture,
    Tissue,
    draw_texture,
    draw_tissue,
    fluid_fractions,
    fold_points,
    paint_brain,
)
from triage.domain.finding import SUBTYPES, Subtype

_MARGIN_MM = 14.0
"""The head may reach this far beyond the anatomy's own skin."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Everything that was drawn for one head; nothing in it depends on how it is cut."""

    anatomy: Anatomy
    pose: Pose
    texture: Texture
    tissue: Tissue
    mimics: Mimics
    bleeds: tuple[Bleed, ...]
    wobble_mm: float

    def height_mm(self, point_mm: tuple[float, float, float]) -> float:
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
        best = self.blood.argmax(axis=0)
        return np.where(self.blood.max(axis=0) > 0.5, best + 1, 0).astype(np.uint8)


def draw_head(
    rng: np.random.Generator,
    anatomy: Anatomy,
    *,
    bleeding: bool,
    subtypes: Sequence[Subtype] | None = None,
    pitch_deg: float = 9.0,
) -> Head:
    """Draw a head; ``subtypes`` forces which bleeds it has when ``bleeding``.

    Every ingredient has its own random stream, so that two heads of one seed differ only in what was asked.
    """
    for_pose, for_texture, for_tissue, for_mimics, for_bleeds = rng.spawn(5)
    return Head(
        anatomy=anatomy,
        pose=draw_pose(for_pose, pitch_deg, anatomy.typical_size),
        texture=draw_texture(for_texture),
        tissue=draw_tissue(for_tissue),
        mimics=draw_mimics(for_mimics, anatomy.surface),
        bleeds=draw_bleeds(for_bleeds, anatomy, subtypes) if bleeding else (),
        wobble_mm=for_pose.uniform(0.3, 1.6),
    )


def sub_slices(thickness_mm: float) -> int:
    """How many planes are averaged into a slice: partial volume of a thick slice needs more."""
    return 3 if thickness_mm <= 5.5 else 5 if thickness_mm <= 6.5 else 7


def cut(head: Head, plane: Plane) -> Cut:
    """The slice of ``head`` in ``plane``, averaged over its thickness. The sides of the plane divide by four."""
    shape = (plane.rows, plane.columns)
    whole = Cut(
        hu=np.full(shape, AIR, np.float32),
        inner=np.full(shape, -200, np.float32),
        bone=np.zeros(shape, np.float32),
        blood=np.zeros((len(SUBTYPES), *shape), np.float32),
    )
    box = _box(head, plane)
    if box is None:
        return whole
    top, bottom, left, right = box
    part = _cut_box(head, plane.cropped(top, bottom, left, right))
    window = np.s_[..., top:bottom, left:right]
    for target, source in ((whole.hu, part.hu), (whole.inner, part.inner), (whole.bone, part.bone)):
        target[window] = source
    whole.blood[window] = part.blood
    return whole


def _box(head: Head, plane: Plane) -> tuple[int, int, int, int] | None:
    """The rows and columns around the head, multiples of `COARSE`; None where the plane misses it."""
    skin = head.anatomy.skull_at(head.pose.coarse_points(plane)).skin[0]
    rows, columns = np.nonzero(skin > -_MARGIN_MM)
    if not len(rows):
        return None
    return (
        int(rows.min()) * COARSE,
        (int(rows.max()) + 1) * COARSE,
        int(columns.min()) * COARSE,
        (int(columns.max()) + 1) * COARSE,
    )


def _cut_box(head: Head, plane: Plane) -> Cut:
    count = sub_slices(plane.thickness_mm)
    offsets = ((np.arange(count) + 0.5) / count - 0.5) * plane.thickness_mm
    sample = _sample(head, head.pose.points(plane, offsets))
    outside = paint_outside(sample, head.tissue)
    paint_scalp(outside.hu, sample, head.mimics)
    inner = sample.skull.inner - np.float32(head.tissue.inner_offset_mm)
    hu = outside.hu
    blood = np.zeros((len(SUBTYPES), plane.rows, plane.columns), np.float32)
    if inner.max() > 0:
        fluid = fluid_fractions(sample, head.tissue)
        brain = paint_brain(sample, head.tissue, fluid)
        paint_mimics(brain, sample, inner, head.mimics)
        labels = paint_bleeds(brain, sample, fluid, inner, head.bleeds)
        hu += (brain - hu) * ramp(inner)
        for index in np.unique(labels[labels > 0]):
            blood[index - 1] = (labels == index).mean(axis=0)
    return Cut(hu=hu.mean(axis=0), inner=inner[count // 2], bone=outside.bone.mean(axis=0), blood=blood)


def _sample(head: Head, points: Floats) -> Sample:
    """All fields at ``points`` (3, slice, row, column)."""
    broad = head.texture.broad.sample(points)
    fine = head.texture.fine.sample(points)
    inside_points = points.copy()
    for axis in range(3):
        inside_points[axis] += np.float32(head.wobble_mm) * broad[axis]
    for bleed in head.bleeds:
        if bleed.push is not None:
            inside_points += bleed.push.undo(points)
    return Sample(
        points=points,
        inside_points=inside_points,
        skull=head.anatomy.skull_at(points),
        brain=head.anatomy.brain_at(inside_points),
        broad=broad,
        fine=fine,
        folds=head.texture.folds.sample(fold_points(inside_points, fine))[0],
    )
