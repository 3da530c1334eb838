"""Which series is analysed: what rules a series out, which of its instances count, and which series is best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from triage.dicom.instance_rules import Exclusion, instance_exclusion
from triage.dicom.kernel import Sharpness, sharpness
from triage.dicom.stacking import stack_series
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.geometry import SliceStack
from triage.domain.study import InstanceHeader

MINIMUM_SLICES = 8
MINIMUM_COVERAGE_MM = 80.0
"""A newborn's head is about 90 mm high; what covers less cannot speak for a whole head."""

FULL_COVERAGE_MM = 110.0
TARGET_THICKNESS_MM = 5.0
"""The models are trained on slices of 5 mm; thinner ones also cost time."""

_SET_ASIDE = frozenset({ReasonCode.NOT_CT, ReasonCode.LOCALIZER, ReasonCode.DERIVED})
"""Instances ruled out for these reasons are no axial slices of the scan, so leaving them out loses no anatomy.
Any other odd instance (a slice without pixels, say) may be a slice, and rules the whole series out."""


def usable(headers: Sequence[InstanceHeader]) -> list[InstanceHeader]:
    """The instances to analyse: all but single odd ones such as a localizer or a dose screen among the slices.

    In the order given, and empty when every instance is of that kind.
    """
    return [header for header in headers if not is_set_aside(header)]


def is_set_aside(header: InstanceHeader) -> bool:
    """Whether `usable` leaves this instance out, whatever else its series holds."""
    found = instance_exclusion(header)
    return found is not None and found.reason in _SET_ASIDE


def exclusion(headers: Sequence[InstanceHeader]) -> Exclusion | None:
    """Why the series cannot be analysed, or None when `usable` of it can be.

    Single-instance rules come first (the commonest one speaks), then geometry, then the number of slices and
    what they cover. A gap is told before too few slices: something is missing rather than never scanned.
    """
    if not headers:
        raise ValueError("a series has at least one instance")
    kept = usable(headers)
    odd = [found for header in (kept or headers) if (found := instance_exclusion(header)) is not None]
    if odd:
        (reason, sentence), _ = Counter((found.reason, found.sentence) for found in odd).most_common(1)[0]
        return Exclusion(reason, sentence)
    try:
        stack = stack_series(kept)
    except UnusableSeries as unusable:
        return Exclusion(unusable.reason, str(unusable))
    return _too_little(stack)


def _too_little(stack: SliceStack) -> Exclusion | None:
    if len(stack.order) < MINIMUM_SLICES:
        sentence = f"{len(stack.order)} slices are fewer than the {MINIMUM_SLICES} that a head needs."
        return Exclusion(ReasonCode.TOO_FEW_SLICES, sentence)
    if stack.coverage_mm < MINIMUM_COVERAGE_MM:
        sentence = f"The slices cover {stack.coverage_mm:.0f} mm, less than the {MINIMUM_COVERAGE_MM:.0f} mm of a head."
        return Exclusion(ReasonCode.TOO_FEW_SLICES, sentence)
    return None


@dataclass(frozen=True, slots=True, order=True)
class Preference:
    """How well a series suits the analysis; greater is better, and no two series of a study are equal.

    Compared in this order: soft kernel before unknown before sharp, the whole head before a part of it,
    thickness near 5 mm, original before derived, coverage, number of slices; then the lower series number and
    the lower series UID, so that the choice never depends on the order of arrival.
    """

    kernel: Sharpness
    whole_head: bool
    thickness_fit: float
    original: bool
    coverage_mm: float
    slices: int
    series_number: int
    series_uid: tuple[int, ...]
    sentence: str = field(compare=False)


def preference(headers: Sequence[InstanceHeader]) -> Preference:
    """Rank a series that `exclusion` let through; ``sentence`` is like "5.0 mm, kernel H30s, 30 slices, 150 mm".

    Raises
    ------
    UnusableSeries
        When the series has no stack of slices.
    """
    kept = usable(headers)
    if not kept:
        raise UnusableSeries(ReasonCode.DERIVED, "No instance of the series is an axial slice.")
    stack, first = stack_series(kept), kept[0]
    thickness_mm = sorted(float(thickness) for thickness in stack.thickness_mm)
    median_mm = thickness_mm[len(thickness_mm) // 2]
    span = dict.fromkeys(f"{thickness:.1f}" for thickness in (thickness_mm[0], thickness_mm[-1]))
    kernel = next((header.kernel for header in kept if header.kernel), "")
    said = f"kernel {kernel}" if kernel else "kernel not said"
    return Preference(
        kernel=sharpness(kernel, first.manufacturer, first.series_description),
        whole_head=stack.coverage_mm >= FULL_COVERAGE_MM,
        thickness_fit=-round(abs(math.log(max(median_mm, 0.01) / TARGET_THICKNESS_MM)), 1),
        original=all(header.image_type[:1] != ("DERIVED",) for header in kept),
        coverage_mm=round(stack.coverage_mm, 1),
        slices=len(stack.order),
        series_number=-(first.series_number or 0),
        series_uid=tuple(-int(part) for part in first.series_instance_uid.split(".")),
        sentence=f"{'-'.join(span)} mm, {said}, {len(stack.order)} slices, {stack.coverage_mm:.0f} mm",
    )
