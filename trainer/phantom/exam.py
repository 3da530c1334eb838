"""A whole made exam: one head, one stack of slices, one truth."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.phantom.acquisition import HIGHEST_HU, LOWEST_HU, Acquisition, detected, draw_acquisition, with_artefacts
from trainer.phantom.conditions import Condition
from trainer.phantom.fields import Floats
from trainer.phantom.motion import seen_plane
from trainer.phantom.pose import Plane
from trainer.phantom.scene import Cut, Head, cut, draw_head
from trainer.phantom.sources import anatomy_for
from trainer.phantom.tissue import Tissue
from triage.domain.finding import SUBTYPES, ReasonCode, Subtype, WorklistStatus

DEFECTS = (ReasonCode.GAP, ReasonCode.CONTRAST, ReasonCode.TOO_FEW_SLICES, ReasonCode.LOCALIZER)
"""Why a study with status ``not_analysed`` cannot be analysed."""

_RENDER = 2
"""Scenes are rendered on pixels this many times as large as the matrix, then enlarged before blur and noise."""

_PROBE_MM = 1.2
"""Whether blood shows is first tried on pixels four times as large, where they are at most this size."""

_STANDS_OUT_HU = 8.0
"""Blood is seen from this far beyond what lies beside it: about as far as grey matter lies beyond white."""

_FIELD_MM = (230.4, 256.0)
"""Side of the field of view: pixels of 0.45 to 0.5 mm on a matrix of 512, larger ones on a smaller matrix."""

_ATTEMPTS = 12
"""Heads that are drawn before a wish for blood is given up."""


@dataclass(frozen=True, slots=True)
class ScanGeometry:
    """How the scanner cuts the head. ``None`` is drawn: 30 to 34 slices, a field of view of 230 to 256 mm.

    With a tilted gantry the slices move along the table and are sheared against each other. Where
    ``base_thickness_mm`` is given, the lower half of the head is cut that thick, as older scanners did: thin
    through the skull base, ``thickness_mm`` above it.
    """

    slice_count: int | None = None
    thickness_mm: float = 5.0
    base_thickness_mm: float | None = None
    tilt_deg: float = 0.0
    matrix: int = 512
    spacing_mm: float | None = None

    def __post_init__(self) -> None:
        if self.matrix < 32 or self.matrix % 32:
            raise ValueError(f"the matrix must be a multiple of 32, not {self.matrix}")
        if self.slice_count is not None and self.slice_count < 1:
            raise ValueError(f"an exam has at least one slice, not {self.slice_count}")
        if self.spacing_mm is not None and not self.spacing_mm > 0:
            raise ValueError(f"pixels are larger than {self.spacing_mm} mm")
        thicknesses = (self.thickness_mm, self.base_thickness_mm or self.thickness_mm)
        if not 0.5 <= min(thicknesses) <= max(thicknesses) <= 10 or abs(self.tilt_deg) > 30:
            raise ValueError("slices are 0.5 to 10 mm thick and tilted by at most 30 degrees")


@dataclass(frozen=True, slots=True, eq=False)
class PhantomStudy:
    """A made exam with its truth.

    Attributes
    ----------
    hu : ndarray of int16, shape (slice, row, column)
        -1024..3071, sorted from the feet up.
    labels : ndarray of uint8, shape (slice, row, column)
        0 none, i + 1 for SUBTYPES[i].
    planes : tuple of Plane
        Where each slice lies.
    ml : mapping
        Volume of every subtype from the fractions of the voxels, partial volume included.
    status, reason
        What the product should say; ``reason`` only for ``not_analysed``.
    """

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    planes: tuple[Plane, ...]
    ml: Mapping[Subtype, float]
    status: WorklistStatus
    reason: ReasonCode | None
    seed: int
    anatomy: str

    @property
    def subtypes(self) -> tuple[Subtype, ...]:
        """The subtypes that this study shows."""
        return tuple(subtype for subtype in SUBTYPES if self.ml[subtype] > 0)


def study(
    seed: int,
    *,
    status: WorklistStatus = WorklistStatus.SUSPECTED,
    reason: ReasonCode = ReasonCode.GAP,
    anatomy: Path | None = None,
    subtypes: Sequence[Subtype] | None = None,
    geometry: ScanGeometry | None = None,
    minimum_ml: float = 1.5,
    condition: Condition | None = None,
    without: Collection[str] = (),
) -> PhantomStudy:
    """Make one exam, the same for the same arguments.

    Parameters
    ----------
    status : WorklistStatus
        ``suspected`` bleeds, ``not_suspected`` does not, ``not_analysed`` has the defect ``reason``.
    anatomy : Path, optional
        Folder of the CT template; procedural without it.
    subtypes : sequence of Subtype, optional
        Which subtypes bleed, instead of drawn ones.
    minimum_ml : float
        Smallest labelled volume of blood in a ``suspected`` exam, a third of it for each subtype, and the smallest
        that can be seen, see `stands_out`: heads whose blood hides in partial volume, beyond the slices or in
        brain of its own density are drawn anew: a reader would not have called them positive.
    condition : Condition, optional
        Something that the product was not made for. It changes the pixels alone, never ``status`` or ``reason``;
        an exam with the reason ``contrast`` shows contrast agent without being asked.
    without : collection of str
        Ingredients that are switched off, see `trainer.phantom.ingredients.Ingredient`.

    Raises
    ------
    ValueError
        If the status is ``pending``, the reason is none of `DEFECTS`, a subtype is none of SUBTYPES, or no drawn head
        shows enough blood.
    """
    if status is WorklistStatus.PENDING or reason not in DEFECTS:
        raise ValueError(f"no study can be made {status} with reason {reason}; reasons are {', '.join(DEFECTS)}")
    for_head, for_scan, for_slices = np.random.default_rng(seed).spawn(3)
    bleeding = status is WorklistStatus.SUSPECTED
    built = anatomy_for(anatomy, for_head)
    drawn = _drawn_geometry(for_scan, geometry or ScanGeometry())
    scan = draw_acquisition(for_scan, without=without)
    if condition is None and status is WorklistStatus.NOT_ANALYSED and reason is ReasonCode.CONTRAST:
        condition = Condition.CONTRAST
    for head_rng in for_head.spawn(_ATTEMPTS):
        head = draw_head(
            head_rng,
            built,
            bleeding=bleeding,
            subtypes=subtypes,
            pitch_deg=5.0,
            condition=condition,
            without=without,
        )
        planes = _planes(drawn, head.top_mm)
        if bleeding:
            probed, seen_ml = _probed(head, planes)
            if seen_ml < minimum_ml or not _shows(probed, head, minimum_ml):
                continue
        whole = _acquired(head, planes, scan, for_slices)
        if not bleeding or _shows(_labelled_ml(whole.labels, planes), head, minimum_ml):
            break
    else:
        raise ValueError(
            f"seed {seed} shows no {minimum_ml:g} ml of the wanted blood in {_ATTEMPTS} heads:"
            " more slices, another seed or other subtypes may"
        )
    made = PhantomStudy(
        hu=whole.hu,
        labels=whole.labels,
        planes=planes,
        ml=whole.ml,
        status=status,
        reason=reason if status is WorklistStatus.NOT_ANALYSED else None,
        seed=seed,
        anatomy=built.name,
    )
    return _with_defect(made)


@dataclass(frozen=True, slots=True)
class _DrawnGeometry:
    """A geometry without open choices, thicknesses from the feet up.

    ``above_mm`` is how far the last slice lies above the vertex.
    """

    thicknesses_mm: tuple[float, ...]
    tilt_rad: float
    matrix: int
    spacing_mm: float
    above_mm: float


def _drawn_geometry(rng: np.random.Generator, geometry: ScanGeometry) -> _DrawnGeometry:
    """Draw what ``geometry`` leaves open."""
    covered_mm = int(rng.integers(30, 35)) * 5.0
    upper, base = geometry.thickness_mm, geometry.base_thickness_mm
    if base is None:
        thicknesses = (upper,) * (geometry.slice_count or round(covered_mm / upper))
    elif geometry.slice_count:
        thicknesses = (base,) * (geometry.slice_count // 2) + (upper,) * -(-geometry.slice_count // 2)
    else:
        thicknesses = (base,) * round(0.4 * covered_mm / base) + (upper,) * round(0.6 * covered_mm / upper)
    return _DrawnGeometry(
        thicknesses_mm=thicknesses,
        tilt_rad=float(np.deg2rad(geometry.tilt_deg)),
        matrix=geometry.matrix,
        spacing_mm=geometry.spacing_mm or rng.uniform(*_FIELD_MM) / geometry.matrix,
        above_mm=rng.uniform(8, 14),
    )


def _planes(drawn: _DrawnGeometry, top_mm: float) -> tuple[Plane, ...]:
    """The planes from the feet up, the last above the vertex, which lies at ``top_mm``."""
    row = np.array([1.0, 0.0, 0.0])
    column = np.array([0.0, np.cos(drawn.tilt_rad), -np.sin(drawn.tilt_rad)])
    corner = -(drawn.matrix - 1) / 2 * drawn.spacing_mm * (row + column)
    thicknesses = np.array(drawn.thicknesses_mm)
    middles = np.cumsum(thicknesses) - thicknesses / 2
    heights = top_mm + drawn.above_mm - (middles[-1] - middles) / np.cos(drawn.tilt_rad)
    return tuple(
        Plane(
            origin_mm=corner + np.array([0.0, 0.0, height]),
            row=row,
            column=column,
            spacing_mm=drawn.spacing_mm,
            rows=drawn.matrix,
            columns=drawn.matrix,
            thickness_mm=thickness,
        )
        for height, thickness in zip(heights, drawn.thicknesses_mm, strict=True)
    )


def _shows(ml: Mapping[Subtype, float], head: Head, minimum_ml: float) -> bool:
    """Whether there is enough blood, and some of every bleed."""
    wanted = {bleed.subtype for bleed in head.bleeds}
    return sum(ml.values()) >= minimum_ml and all(ml[subtype] >= minimum_ml / 3 for subtype in wanted)


def stands_out(ideal: Cut, tissue: Tissue) -> NDArray[np.bool_]:
    """Where a reader could tell blood from what lies beside it, bool (row, column), before noise and artefacts.

    Blood in a ventricle is seen beside fluid; all other beside brain, in which blood as dense as it is not seen,
    be it lighter than the fluid whose place it takes.
    """
    brighter, darker = ideal.hu >= tissue.grey + _STANDS_OUT_HU, ideal.hu <= tissue.white - _STANDS_OUT_HU
    beside_fluid = ideal.hu >= tissue.fluid + _STANDS_OUT_HU
    seen = {Subtype.IVH: beside_fluid, Subtype.SAH: brighter}
    shown = [
        (part > 0.5) & seen.get(subtype, brighter | darker) for subtype, part in zip(SUBTYPES, ideal.blood, strict=True)
    ]
    return np.any(shown, axis=0)


def _probed(head: Head, planes: Sequence[Plane]) -> tuple[dict[Subtype, float], float]:
    """Volumes from coarse pixels, and of these what can be seen: to drop hopeless heads before they are rendered."""
    ml, seen_ml = dict.fromkeys(SUBTYPES, 0.0), 0.0
    for plane in planes:
        coarse = plane.coarser(_RENDER)
        if coarse.spacing_mm < _PROBE_MM:
            coarse = coarse.coarser()
        ideal = cut(head, coarse)
        for subtype, fraction in zip(SUBTYPES, ideal.blood, strict=True):
            ml[subtype] += _ml(fraction, coarse)
        seen_ml += _ml(stands_out(ideal, head.tissue), coarse)
    return ml, seen_ml


def _labelled_ml(labels: NDArray[np.uint8], planes: Sequence[Plane]) -> dict[Subtype, float]:
    """Volumes of the labelled voxels."""
    ml = np.zeros(len(SUBTYPES))
    for image, plane in zip(labels, planes, strict=True):
        counts = np.bincount(image.ravel(), minlength=len(SUBTYPES) + 1)[1:]
        ml += counts * plane.spacing_mm**2 * plane.thickness_mm / 1000
    return {subtype: float(volume) for subtype, volume in zip(SUBTYPES, ml, strict=True)}


def _ml(fraction: NDArray[np.float32 | np.bool_], plane: Plane) -> float:
    """Volume of the voxels of ``plane`` of which ``fraction`` (row, column) is blood."""
    return float(fraction.sum(dtype=np.float64)) * plane.spacing_mm**2 * plane.thickness_mm / 1000


@dataclass(frozen=True, slots=True, eq=False)
class _Acquired:
    """A head as scanned: ``hu``, ``labels`` and ``ml`` of `PhantomStudy`, before any defect."""

    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    ml: Mapping[Subtype, float]


def _acquired(head: Head, planes: Sequence[Plane], scan: Acquisition, rng: np.random.Generator) -> _Acquired:
    """Cut and scan every plane."""
    shape = (len(planes), planes[0].rows, planes[0].columns)
    hu, labels = np.empty(shape, np.int16), np.zeros(shape, np.uint8)
    ml = dict.fromkeys(SUBTYPES, 0.0)
    for index, plane in enumerate(planes):
        rough = plane.coarser(_RENDER)
        ideal = cut(head, seen_plane(rough, scan.motion, index / len(planes)), scan.profile)
        enlarged = _enlarged(with_artefacts(ideal, scan, rng, rough.spacing_mm), shape[1:])
        image = detected(enlarged, scan, rng, plane.spacing_mm)
        hu[index] = np.clip(np.rint(image), LOWEST_HU, HIGHEST_HU).astype(np.int16)
        if ideal.blood.any():
            for number, fraction in enumerate(ideal.blood):
                if fraction.any():
                    labels[index][_enlarged(fraction, shape[1:]) > 0.5] = number + 1
        for subtype, fraction in zip(SUBTYPES, ideal.blood, strict=True):
            ml[subtype] += _ml(fraction, rough)
    return _Acquired(hu, labels, ml)


def _enlarged(image: Floats, shape: tuple[int, ...]) -> Floats:
    """``image`` on the full matrix; linear, because a cubic would draw dark rings beside bone."""
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _with_defect(made: PhantomStudy) -> PhantomStudy:
    """The study without the slices that its defect leaves out."""
    count = len(made.planes)
    if made.reason is ReasonCode.GAP:
        kept = [index for index in range(count) if not count // 2 - 2 <= index < count // 2 + 2]
    elif made.reason is ReasonCode.TOO_FEW_SLICES:
        kept = list(range(count // 2, count // 2 + 4))
    elif made.reason is ReasonCode.LOCALIZER:
        kept = [count // 2]
    else:
        return made
    return replace(made, hu=made.hu[kept], labels=made.labels[kept], planes=tuple(made.planes[index] for index in kept))
