"""Whether the frames of several instances form one stack of slices on one grid, told from their headers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.geometry import SliceStack, stack_frames
from triage.domain.study import InstanceHeader

AXIAL_COSINE = 0.7
"""Least cosine between the slice normal and the patient's long axis: 45 degrees, which no gantry and no tilted
reformat of a head reaches."""

SPACING_TOLERANCE = 0.01


def stack_series(headers: Sequence[InstanceHeader]) -> SliceStack:
    """The frames of all instances, in the order given, as one stack.

    A step wider than its neighbours explain is a gap and is refused; so is a series that is not near-axial: CT
    is scanned axially, and anything else was reformatted, so it is ``derived``.

    Raises
    ------
    UnusableSeries
        ``no_geometry``, ``mixed_orientation`` (also for more than one matrix, pixel size or frame of reference),
        ``duplicate_positions``, ``derived``, ``gap``.
    """
    if any(not header.frames or header.pixel_spacing_mm is None for header in headers):
        raise UnusableSeries(ReasonCode.NO_GEOMETRY, "At least one image says no position, orientation or pixel size.")
    _one_grid(headers)
    stack = stack_frames([frame for header in headers for frame in header.frames])
    if abs(float(stack.normal[2])) < AXIAL_COSINE:
        plane = "sagittal" if abs(float(stack.normal[0])) >= AXIAL_COSINE else "coronal or oblique"
        raise UnusableSeries(ReasonCode.DERIVED, f"The slices are {plane}: a reformat, not the axial scan.")
    gap = stack.largest_gap()
    if gap is not None:
        index, step_mm = gap
        raise UnusableSeries(
            ReasonCode.GAP,
            f"There is a gap of {step_mm:.1f} mm after slice {index + 1} of {len(stack.order)}: slices are missing.",
        )
    return stack


def _one_grid(headers: Sequence[InstanceHeader]) -> None:
    first = headers[0]
    if any((header.rows, header.columns) != (first.rows, first.columns) for header in headers):
        raise UnusableSeries(ReasonCode.MIXED_ORIENTATION, "The slices do not share one image matrix.")
    spacing = np.array([header.pixel_spacing_mm for header in headers], dtype=np.float64)
    if float(np.abs(spacing / spacing[0] - 1).max()) > SPACING_TOLERANCE:
        raise UnusableSeries(ReasonCode.MIXED_ORIENTATION, "The slices do not share one pixel size.")
    if len({header.frame_of_reference_uid for header in headers} - {""}) > 1:
        raise UnusableSeries(ReasonCode.MIXED_ORIENTATION, "The slices lie in more than one frame of reference.")
