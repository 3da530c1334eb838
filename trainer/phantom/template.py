"""Anatomy from an average head CT with tissue maps (neurolabusc/Clinical; cite Rorden 2012, NeuroImage 61:957)."""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.phantom.anatomy import Anatomy
from trainer.phantom.fields import Floats

_FILES = {"hu": "scct_hu_derived", "grey": "scgrey", "white": "scwhite", "csf": "sccsf"}
_NOT_INSTALLED = "a CT template is read with nibabel and SciPy; both come with the extra [train]"
_TYPICAL_SIZE = 0.94
"""The template has the size of its standard space, which is larger than most heads: 2.0 l inside the skull."""

_LITRES = (0.5, 4.0)
"""What may lie inside the skull of a template."""

_VAULT_SMOOTHING_MM = 7.0
"""Bumps of the average head that are finer than this are taken off its vault."""

_VAULT_GROWTH_MM = 0.7
"""Smoothing pulls a convex surface inwards by about this much."""

_MARGIN = 8
"""Nodes of air added in front, behind and beside; the template ends at the skin of the forehead."""

_BLURRED = 2
"""The lowest slices of the template fade out."""

_FLOOR_MM = 40.0
"""The template is cut at z -72; its lowest slice is continued this far down, as a neck."""


@lru_cache(maxsize=2)
def template_anatomy(folder: Path) -> Anatomy:
    """Read the four maps of ``folder`` and derive the fields.

    Raises
    ------
    FileNotFoundError
        If one of the maps is missing.
    ValueError
        If one of them cannot be read, they do not fit together, there is no head in them, or what reads them is
        not installed.
    """
    try:
        from scipy import ndimage  # only where a template is read
    except ImportError as exc:
        raise ValueError(_NOT_INSTALLED) from exc

    maps, origin, step = _load(folder)
    hu = maps["hu"]
    z = (origin[2] + step * np.arange(hu.shape[0]))[:, None, None]
    y = (origin[1] + step * np.arange(hu.shape[1]))[None, :, None]
    x = (origin[0] + step * np.arange(hu.shape[2]))[None, None, :]
    inside = _intracranial(ndimage, hu, maps["grey"] + maps["white"] + maps["csf"])
    litres = np.count_nonzero(inside) * step**3 / 1e6
    if not _LITRES[0] < litres < _LITRES[1]:
        raise ValueError(f"{folder}: a head holds 0.5 to 4 l of brain and fluid, not {litres:.1f}")
    bone = (hu > np.clip(210 + (z + 10) * 2.0, 125, 210)) & ~inside
    body = ndimage.binary_closing(hu > -400, iterations=2)
    body = np.stack([ndimage.binary_fill_holes(plane) for plane in body])
    inner = _smooth_vault(ndimage, _depth(ndimage, inside, step), z, step)
    ventricles = (maps["csf"] > 0.45) & (inner > 22) & _ventricular_region(x, y, z)
    ventricles = _without_crumbs(ndimage, ventricles, 60)
    ventricle = _depth(ndimage, ventricles, step)
    deep = (z < 12) & (np.abs(x) < 52) & (inner > 6)
    cistern = maps["csf"] * np.clip(-ventricle / 2, 0, 1) * (inner > 2) * deep
    values = {
        "inner": inner,
        "bone": _depth(ndimage, bone, step),
        "skin": _depth(ndimage, body, step),
        "outside": hu,
        "grey": maps["grey"],
        "white": maps["white"],
        "ventricle": ventricle,
        "cistern": cistern.astype(np.float32),
    }
    return Anatomy.from_values("template", values, origin, step, _TYPICAL_SIZE)


def _load(folder: Path) -> tuple[dict[str, Floats], tuple[float, float, float], float]:
    """The maps as (z, y, x) in the order right, anterior, superior; the first node's position; the step in mm."""
    images = {key: _read(folder / f"{name}.nii.gz") for key, name in _FILES.items()}
    affine = images["hu"][1]
    for key, (values, own) in images.items():
        if values.shape != images["hu"][0].shape or not np.allclose(own, affine):
            raise ValueError(f"{folder}: {_FILES[key]} and {_FILES['hu']} lie on different grids")
    step = float(affine[0, 0])
    if not np.allclose(affine[:3, :3], step * np.eye(3), atol=1e-3):
        raise ValueError(f"{folder}: the voxels of a template are upright cubes")
    maps = {key: values for key, (values, _) in images.items()}
    extra = round(_FLOOR_MM / step)
    maps = {
        key: np.concatenate([np.repeat(a[_BLURRED : _BLURRED + 1], extra + _BLURRED, axis=0), a[_BLURRED:]])
        for key, a in maps.items()
    }
    for key in ("grey", "white", "csf"):
        maps[key][:extra] = 0
    margin = ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN))
    maps = {key: np.pad(a, margin, constant_values=-1000 if key == "hu" else 0) for key, a in maps.items()}
    x, y, z = (float(value) for value in affine[:3, 3])
    return maps, (x - _MARGIN * step, y - _MARGIN * step, z - extra * step), step


def _read(path: Path) -> tuple[Floats, NDArray[np.float64]]:
    """One map (z, y, x) in the order right, anterior, superior, and its affine."""
    try:
        import nibabel  # only where a template is read
        from nibabel.filebasedimages import ImageFileError
    except ImportError as exc:
        raise ValueError(_NOT_INSTALLED) from exc
    try:
        image: Any = nibabel.as_closest_canonical(nibabel.load(path))
        values = np.asarray(image.get_fdata(dtype=np.float32))
    except FileNotFoundError:
        raise
    except (ImageFileError, OSError, EOFError, zlib.error) as exc:
        raise ValueError(f"{path} cannot be read as a NIfTI image: {exc}") from exc
    if values.ndim != 3:
        raise ValueError(f"{path} has {values.ndim} axes; a map of a template has 3")
    return values.transpose(2, 1, 0), np.asarray(image.affine, np.float64)


def _ventricular_region(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where fluid is ventricle and not fissure: lateral ventricles, third and fourth ventricle."""
    lateral = (np.abs(x) < 34) & (z > -14) & (z < 40) & (y > -88)
    midline = np.abs(x) < 4
    septum = midline & (y > -38) & (y < 22) & (z > -10)
    fourth = (np.abs(x) < 9) & (y < -30) & (y > -54) & (z < -14) & (z > -44)
    return (lateral & ~midline) | septum | fourth


def _intracranial(ndimage: Any, hu: Floats, brain: Floats) -> np.ndarray:
    """The space inside the inner table: the brain grown up to the bone, closed and filled."""
    core = _without_crumbs(ndimage, ndimage.binary_opening(brain > 0.4), 10_000)
    grown = ndimage.binary_dilation(core, iterations=3, mask=(hu < 170) & (hu > -60))
    closed = ndimage.binary_closing(grown, iterations=3) | core
    return np.asarray(ndimage.binary_fill_holes(closed) & (hu < 260))


def _without_crumbs(ndimage: Any, mask: np.ndarray, smallest: int) -> np.ndarray:
    """``mask`` without its connected parts of fewer than ``smallest`` nodes."""
    parts, count = ndimage.label(mask)
    sizes = ndimage.sum(mask, parts, range(1, count + 1))
    return np.isin(parts, 1 + np.flatnonzero(np.asarray(sizes) >= smallest))


def _smooth_vault(ndimage: Any, inner: Floats, z: np.ndarray, step_mm: float) -> Floats:
    """``inner`` without the bumps that the average head leaves in the vault; the base stays as it is."""
    smooth = np.asarray(ndimage.gaussian_filter(inner, _VAULT_SMOOTHING_MM / step_mm), np.float32)
    above = np.clip((z + 26) / 14, 0, 1).astype(np.float32) * np.clip((18 - inner) / 8, 0, 1)
    return np.asarray(inner + above * (smooth + np.float32(_VAULT_GROWTH_MM) - inner), np.float32)


def _depth(ndimage: Any, mask: np.ndarray, step_mm: float) -> Floats:
    """Signed depth in mm, positive inside, smoothed so that no voxel steps are left."""
    signed = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    signed -= 0.5 * np.sign(signed)
    return np.asarray(ndimage.gaussian_filter(signed * step_mm, 0.7), np.float32)
