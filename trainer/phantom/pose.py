"""Where the image planes lie in the head: position, turning, size, and the individual shape of the head."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.phantom.fields import COARSE, Floats, Lattice, noise_lattice


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One image plane in scanner coordinates (LPS, mm).

    ``origin_mm`` is the centre of the first pixel, ``row`` the direction of increasing column index and
    ``column`` that of increasing row index, as in PS3.3 C.7.6.2.1.1.
    """

    origin_mm: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    spacing_mm: float
    rows: int
    columns: int
    thickness_mm: float

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector through the slice."""
        return np.cross(self.row, self.column)

    def cropped(self, top: int, bottom: int, left: int, right: int) -> Plane:
        """The rectangle of rows ``top:bottom`` and columns ``left:right``."""
        origin = self.origin_mm + self.spacing_mm * (left * self.row + top * self.column)
        return replace(self, origin_mm=origin, rows=bottom - top, columns=right - left)

    def coarser(self, factor: int = COARSE) -> Plane:
        """The same rectangle with pixels ``factor`` times as large; its sides must be multiples of it."""
        shift = (factor - 1) / 2 * self.spacing_mm
        return replace(
            self,
            origin_mm=self.origin_mm + shift * (self.row + self.column),
            spacing_mm=self.spacing_mm * factor,
            rows=self.rows // factor,
            columns=self.columns // factor,
        )


def axial_plane(z_mm: float, size: int, spacing_mm: float, thickness_mm: float) -> Plane:
    """A square axial plane centred on the scanner's axis."""
    corner = -(size - 1) / 2 * spacing_mm
    return Plane(
        origin_mm=np.array([corner, corner, z_mm]),
        row=np.array([1.0, 0.0, 0.0]),
        column=np.array([0.0, 1.0, 0.0]),
        spacing_mm=spacing_mm,
        rows=size,
        columns=size,
        thickness_mm=thickness_mm,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """From scanner coordinates (LPS) to head coordinates (RAS): ``matrix @ point + offset``, then the shape.

    ``shape`` holds three smooth displacement fields; ``shape_mm`` their size.
    """

    matrix: NDArray[np.float64]
    offset_mm: NDArray[np.float64]
    shape: Lattice
    shape_mm: float

    def points(self, plane: Plane, offsets_mm: NDArray[np.float64]) -> Floats:
        """Head coordinates (3, offset, row, column) of a plane moved along its normal by each of ``offsets_mm``."""
        straight = self._straight(plane, offsets_mm)
        size = (plane.columns, plane.rows)
        for axis, bend in enumerate(self.shape.sample(self.coarse_points(plane))):
            straight[axis] += np.float32(self.shape_mm) * cv2.resize(bend[0], size, interpolation=cv2.INTER_LINEAR)
        return straight

    def coarse_points(self, plane: Plane) -> Floats:
        """Head coordinates (3, 1, row, column) of every `COARSE`-th pixel, without the individual shape."""
        return self._straight(plane.coarser(), np.zeros(1))

    def _straight(self, plane: Plane, offsets_mm: NDArray[np.float64]) -> Floats:
        """As `points`, without the individual shape."""
        along_columns = np.arange(plane.columns) * plane.spacing_mm
        along_rows = np.arange(plane.rows) * plane.spacing_mm
        origin = self.matrix @ plane.origin_mm + self.offset_mm
        row, column, normal = self.matrix @ plane.row, self.matrix @ plane.column, self.matrix @ plane.normal
        out = np.empty((3, len(offsets_mm), plane.rows, plane.columns), np.float32)
        for axis in range(3):
            down = origin[axis] + offsets_mm[:, None] * normal[axis] + along_rows * column[axis]
            out[axis] = (down[..., None] + along_columns * row[axis]).astype(np.float32)
        return out

    def to_scanner(self, point_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scanner coordinates (LPS) of a head point (3,), the individual shape left aside."""
        return np.asarray(np.linalg.solve(self.matrix, point_mm - self.offset_mm))


def draw_pose(rng: np.random.Generator, pitch_deg: float, typical_size: float = 1.0) -> Pose:
    """A pose: pitch of standard deviation ``pitch_deg``, some roll and yaw, size, mirror image, individual shape."""
    pitch, roll, yaw = np.deg2rad([rng.normal(0, pitch_deg), rng.normal(0, 3.5), rng.normal(0, 6)])
    turn = _rotation(0, pitch) @ _rotation(1, roll) @ _rotation(2, yaw)
    size = typical_size * rng.normal(1, 0.045) * rng.normal(1, 0.03, 3)
    mirror = np.diag([float(rng.choice([-1.0, 1.0])), 1.0, 1.0])
    lps_to_ras = np.diag([-1.0, -1.0, 1.0])
    matrix = mirror @ np.diag(1 / np.clip(size, 0.82, 1.15)) @ turn @ lps_to_ras
    centre = np.array([0.0, -18.0, 0.0])
    shift = np.array([rng.normal(0, 4), rng.normal(0, 5), 0.0])
    return Pose(
        matrix=matrix,
        offset_mm=centre - matrix @ shift,
        shape=noise_lattice(rng, correlation_mm=24.0, channels=3),
        shape_mm=rng.uniform(0.8, 2.5),
    )


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    """Rotation matrix about one coordinate axis."""
    cosine, sine = np.cos(angle), np.sin(angle)
    first, second = [index for index in range(3) if index != axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix
