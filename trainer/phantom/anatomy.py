"""The head underneath a made scan, as fields in head coordinates.

Head coordinates are mm, x to the right, y to the front, z up, the origin near the anterior commissure (those
of the template). Two builders make an `Anatomy`: `trainer.phantom.template` from an average head CT and
`trainer.phantom.procedural` from formulas alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.phantom.fields import Floats, Lattice

SKULL_CHANNELS = ("inner", "bone", "skin", "outside")
BRAIN_CHANNELS = ("grey", "white", "ventricle", "cistern")


@dataclass(frozen=True, slots=True, eq=False)
class SkullFields:
    """Fields of everything that bleeding does not push aside, float32 (slice, row, column).

    ``inner``, ``bone`` and ``skin`` are signed depths in mm, positive inside: below the inner table, in the
    bone, under the skin. ``outside`` is the rough HU of the soft tissue and the air around the brain.
    """

    inner: Floats
    bone: Floats
    skin: Floats
    outside: Floats


@dataclass(frozen=True, slots=True, eq=False)
class BrainFields:
    """Fields inside the skull, float32 (slice, row, column).

    ``grey``, ``white`` and ``cistern`` are fractions 0..1, ``ventricle`` is a signed depth in mm.
    """

    grey: Floats
    white: Floats
    ventricle: Floats
    cistern: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """One head.

    Attributes
    ----------
    name : str
        ``procedural`` or ``template``, for the truth of an exam.
    typical_size : float
        Factor from head coordinates to a head of average size.
    skull, brain : Lattice
        `SKULL_CHANNELS` and `BRAIN_CHANNELS`.
    surface, interior, ventricular, cisternal : ndarray of float32, shape (point, 3)
        Places where blood may start: under the inner table, deep in the brain, in the ventricles, in the
        cisterns and fissures.
    """

    name: str
    typical_size: float
    skull: Lattice
    brain: Lattice
    surface: Floats
    interior: Floats
    ventricular: Floats
    cisternal: Floats

    @property
    def top_mm(self) -> float:
        """Height z of the highest point of the brain."""
        return float(self.surface[:, 2].max())

    @classmethod
    def from_values(
        cls,
        name: str,
        values: dict[str, Floats],
        origin_mm: tuple[float, ...],
        step_mm: float,
        typical_size: float = 1.0,
    ) -> Anatomy:
        """Build from one array (z, y, x) per channel on a common lattice.

        Parameters
        ----------
        values : dict
            An array for each of `SKULL_CHANNELS` and `BRAIN_CHANNELS`.
        origin_mm : tuple of float
            Position (x, y, z) of the first node.

        Raises
        ------
        ValueError
            If there is no place where a bleed of some kind could start.
        """
        skull = np.stack([values[channel] for channel in SKULL_CHANNELS]).astype(np.float32)
        brain = np.stack([values[channel] for channel in BRAIN_CHANNELS]).astype(np.float32)
        inner, ventricle, cistern = values["inner"], values["ventricle"], values["cistern"]
        z = (origin_mm[2] + step_mm * np.arange(inner.shape[0]))[:, None, None]
        places = {
            "surface": (inner > 0) & (inner < 3) & (z > -40),
            "interior": (inner > 10) & (ventricle < -4) & (cistern < 0.3) & (z > -48),
            "ventricular": ventricle > 0.5,
            "cisternal": (inner > 1) & (cistern > 0.45) & (ventricle < -3) & (z > -45),
        }
        points = {key: _points(mask, origin_mm, step_mm) for key, mask in places.items()}
        empty = [key for key, found in points.items() if not len(found)]
        if empty:
            raise ValueError(f"anatomy {name!r} has no {' and no '.join(empty)} points: it is not a head")
        return cls(
            name=name,
            typical_size=typical_size,
            skull=Lattice.from_values(skull, origin_mm, step_mm),
            brain=Lattice.from_values(brain, origin_mm, step_mm),
            **points,
        )

    def skull_at(self, points: Floats) -> SkullFields:
        """The skull fields at ``points`` (3, slice, row, column)."""
        return SkullFields(*self.skull.sample(points))

    def brain_at(self, points: Floats) -> BrainFields:
        """The brain fields at ``points`` (3, slice, row, column)."""
        return BrainFields(*self.brain.sample(points))


def _points(mask: np.ndarray, origin_mm: tuple[float, ...], step_mm: float) -> Floats:
    """Positions (point, 3) in mm of the true nodes of ``mask`` (z, y, x)."""
    nodes = np.argwhere(mask)[:, ::-1]
    return np.asarray(nodes * step_mm + np.asarray(origin_mm), np.float32)
