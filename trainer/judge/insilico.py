"""The figures of InSilicoICH as pictures in HU: somebody else's made heads, never trained on nor tuned to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.measures.interval import Flags
from triage.domain.geometry import stack_frames
from triage.domain.study import FrameGeometry
from triage.domain.volume import SliceSource, Volume

SIZE = 512
FIELD_MM = 250.0
"""Side of the square that a figure shows; assumed, and the skulls are then 130 to 150 mm wide."""
VISIBLE_HU = 50.0
"""Blood of this attenuation and more is told apart from brain in the figures."""

_BOX = slice(57, 2281)
"""Data box of a figure of 2337 pixels: the rest is margin and frame."""

_WINDOW_HU = 80.0
"""Figures are drawn from 0 HU, black, to this, white."""

_WHITE_HU = 79.0
"""From here on a pixel counts as white: averaging the picture down takes a little from pure white."""

_BONE_HU, _CLOT_HU, _AIR_HU = 1000.0, 88.0, -1000.0
"""What the window cut off is taken for; see `expanded`."""

_SKULL_SHARE = 1.4
"""How much deeper than the median thickness of the skull white is still taken for bone."""

_LESIONS = Path(__file__).with_name("insilico_lesions.json")


@dataclass(frozen=True, slots=True, eq=False)
class InSilicoFigure:
    """One figure.

    Attributes
    ----------
    lesion : str
        ``epidural``, ``intraparenchymal``, ``subdural``, or empty.
    attenuation_hu : float
        Of the lesion; without meaning where there is none.
    hu, plain_hu : ndarray of float32, shape (512, 512)
        With bone, air and saturated blood told apart, by speckle and depth and by depth alone; see `expanded`.
    head_mm2 : float
        Area inside the outer contour of the skull.
    outline : ndarray of bool, shape (512, 512), or None
        Where somebody saw the lesion; only of those of 50 HU and more.
    """

    uid: int
    lesion: str
    attenuation_hu: float
    hu: NDArray[np.float32]
    plain_hu: NDArray[np.float32]
    head_mm2: float
    outline: Flags | None

    @property
    def visible(self) -> bool:
        """Whether it shows blood of `VISIBLE_HU` or more."""
        return bool(self.lesion) and self.attenuation_hu >= VISIBLE_HU

    def volume(self, plain: bool = False) -> Volume:
        """The figure as a scan of one slice of 5 mm."""
        frame = FrameGeometry(position_mm=(0.0, 0.0, 0.0), orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), thickness_mm=5.0)
        spacing_mm = FIELD_MM / SIZE
        return Volume(
            hu=(self.plain_hu if plain else self.hu)[None],
            stack=stack_frames([frame]),
            positions_mm=np.zeros((1, 3)),
            orientation=np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
            pixel_spacing_mm=(spacing_mm, spacing_mm),
            frame_of_reference_uid="2.25.1",
            sources=(SliceSource("2.25.1", 1),),
        )


def load_figures(folder: Path) -> list[InSilicoFigure]:
    """All figures that ``metadata.json`` of the folder lists.

    Raises
    ------
    ValueError
        There is no such list, it is none of InSilicoICH, or a figure cannot be read or has another size.
    """
    listed = folder / "metadata.json"
    if not listed.is_file():
        raise ValueError(f"{folder} holds no metadata.json that lists figures of InSilicoICH")
    polygons = json.loads(_LESIONS.read_text(encoding="utf-8"))["polygons"]
    try:
        return [_figure(folder, row, polygons) for row in json.loads(listed.read_text(encoding="utf-8"))]
    except (KeyError, TypeError, json.JSONDecodeError) as exc:
        raise ValueError(f"{listed} is no list of figures with uid, filename, lesion_type and attenuation") from exc


def _figure(folder: Path, row: Mapping[str, Any], polygons: Mapping[str, list[list[int]]]) -> InSilicoFigure:
    """One row of the list with its picture; ``polygons`` holds corners (column, row) by uid."""
    uid, lesion, attenuation_hu = int(row["uid"]), row["lesion_type"] or "", float(row["attenuation"])
    clipped = _clipped(folder / row["filename"])
    hu, head = expanded(clipped)
    plain_hu, _ = expanded(clipped, speckle=False)
    points = polygons.get(str(uid))
    return InSilicoFigure(
        uid=uid,
        lesion=lesion,
        attenuation_hu=attenuation_hu,
        hu=hu,
        plain_hu=plain_hu,
        head_mm2=float(head.sum()) * (FIELD_MM / SIZE) ** 2,
        outline=None if points is None else _filled(points),
    )


def expanded(clipped: NDArray[np.float32], speckle: bool = True) -> tuple[NDArray[np.float32], Flags]:
    """A figure of 0 to 80 HU with what the window cut off put back, and the inside of the skull's outer contour.

    Solid white that hangs together with the skull is bone down to 1.4 times the median thickness of the skull, deeper
    it is blood of 88 HU, as is all other white: blood of 65 HU is speckled, with white pixels between grey ones. Black
    that reaches the border is air. Where blood as white as the skull lies against it, the picture does not say where
    it begins: the depth is a guess. Without ``speckle`` depth alone decides, as in the first experiment, and white
    pixels of a speckled clot become bone.
    """
    white = clipped >= _WHITE_HU
    solid = _opened(white)
    skull = _largest(solid)
    contours, _ = cv2.findContours(skull, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    head = cv2.drawContours(np.zeros_like(skull), contours, -1, 1, cv2.FILLED)
    sinus = _opened(clipped <= 0.0) & (head > 0)
    depth = cv2.distanceTransform(((head > 0) & ~sinus).astype(np.uint8), cv2.DIST_L2, 5)
    inner = (skull > 0) & (cv2.dilate(_largest((head > 0) & (skull == 0)), np.ones((3, 3), np.uint8)) > 0)
    thickness = float(np.median(depth[inner])) if inner.any() else 0.0
    hu = np.where(white, np.float32(_CLOT_HU), clipped)
    bone = solid if speckle else white
    hu = np.where(bone & (depth <= _SKULL_SHARE * thickness), np.float32(_BONE_HU), hu)
    black, labelled = cv2.connectedComponents((clipped <= 0.0).astype(np.uint8), connectivity=4)
    if black > 1:
        rim = np.unique(np.concatenate([labelled[0], labelled[-1], labelled[:, 0], labelled[:, -1]]))
        hu = np.where(np.isin(labelled, rim[rim > 0]), np.float32(_AIR_HU), hu)
    return np.asarray(hu, np.float32), head > 0


def _opened(mask: Flags) -> Flags:
    """Without everything thinner than 2.4 mm: speckle, and the skin that a figure of bone kernel shows."""
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)) > 0)


def _clipped(path: Path) -> NDArray[np.float32]:
    """HU 0 to 80 of the data box, shape (512, 512)."""
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None or picture.shape != (2337, 2337):
        raise ValueError(f"{path} is no figure of 2337 x 2337 pixels")
    shrunk = cv2.resize(picture[_BOX, _BOX].astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk * np.float32(_WINDOW_HU / 255.0), np.float32)


def _filled(points: list[list[int]]) -> Flags:
    return np.asarray(cv2.fillPoly(np.zeros((SIZE, SIZE), np.uint8), [np.array(points, np.int32)], 1) > 0)


def _largest(mask: NDArray[np.generic]) -> NDArray[np.uint8]:
    count, labelled, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count < 2:
        return mask.astype(np.uint8)
    return np.asarray(labelled == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])), np.uint8)
