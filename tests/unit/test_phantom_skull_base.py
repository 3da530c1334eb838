"""The lower head of the procedural anatomy: fossae, ridges, air spaces, bone around them."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.phantom.depths import ellipsoid, rod, smooth_minimum
from trainer.phantom.procedural import procedural_anatomy
from trainer.phantom.skull_base import air_spaces, base_bone, skin, skull_floor


def _spot(x: float, y: float, z: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(np.array([value], np.float32) for value in (x, y, z))  # type: ignore[return-value]


def _floor(x: float, y: float, seed: int = 3) -> float:
    across, along, _ = _spot(x, y)
    return float(skull_floor(np.random.default_rng(seed), across, along)[0])


@pytest.mark.parametrize("seed", range(4))
def test_the_fossae_go_down_from_front_to_back(seed: int) -> None:
    anterior, middle, posterior = _floor(28, 42, seed), _floor(36, 4, seed), _floor(25, -65, seed)
    assert anterior > middle + 12 > posterior + 18


@pytest.mark.parametrize("side", [-1, 1])
def test_the_petrous_ridge_stands_between_middle_and_posterior_fossa(side: int) -> None:
    along = np.linspace(-75, 5, 81, dtype=np.float32)
    heights = skull_floor(np.random.default_rng(1), np.full_like(along, 38.0 * side), along)
    top = int(heights.argmax())
    assert -50 < along[top] < -20
    assert heights[top] > max(heights[0], heights[-1]) + 8


def test_the_foramen_opens_the_floor() -> None:
    assert _floor(0, -43) < _floor(30, -60) - 40


def test_the_roofs_of_the_orbits_bulge_beside_the_midline() -> None:
    assert _floor(28, 42) > _floor(0, 42) + 5


def test_bone_is_where_it_must_be() -> None:
    rough = (np.zeros(1, np.float32),) * 4

    def bone(x: float, y: float, z: float) -> float:
        deep = np.full(1, -12.0, np.float32)
        return float(base_bone(np.random.default_rng(2), *_spot(x, y, z), deep, deep, rough)[0])

    assert bone(56, -40, -48) > 5  # mastoid
    assert bone(-56, -40, -48) > 5
    assert bone(48, 56, -44) > 1  # rim of the orbit
    assert bone(22, -34, -84) > 2  # atlas
    assert bone(0, -40, -84) < 0  # its canal
    assert bone(32, 58, -38) < 0  # globe


def test_air_lies_in_the_sinuses_and_not_in_the_brain() -> None:
    def air(x: float, y: float, z: float) -> float:
        return float(air_spaces(np.random.default_rng(4), *_spot(x, y, z))[0])

    assert air(29, 44, -66) > 5
    assert air(0, 16, -40) > 2
    assert air(0, -20, 20) < -10


def test_skin_covers_face_and_neck() -> None:
    def under(x: float, y: float, z: float) -> float:
        return float(skin(np.random.default_rng(5), *_spot(x, y, z), np.full(1, -40.0, np.float32))[0])

    assert under(0, 40, -70) > 10
    assert under(0, -40, -110) > 10
    assert under(120, 0, -60) < 0


def test_the_occipital_protuberance_stands_inwards_and_not_outwards() -> None:
    anatomy = procedural_anatomy(np.random.default_rng(6))
    line = np.linspace(-12, 12, 25, dtype=np.float32)
    points = np.stack([line, np.full_like(line, -92), np.full_like(line, -28)]).reshape(3, 1, 1, -1)
    inner = anatomy.skull_at(points).inner.ravel()
    assert inner[12] < inner[[0, -1]].min()


def test_solids_have_depths_in_mm() -> None:
    assert ellipsoid(*_spot(9, 0, 0), (0, 0, 0), (10, 20, 30))[0] == pytest.approx(1.0, abs=0.1)
    assert rod(*_spot(0, 3, 50), (0, 0, 0), (0, 0, 100), 5.0)[0] == pytest.approx(2.0)
    assert rod(*_spot(0, 0, 104), (0, 0, 0), (0, 0, 100), 5.0)[0] == pytest.approx(1.0)
    first, second = _spot(4, 10)[:2]
    assert smooth_minimum(first, second, 2.0)[0] == 4
    assert smooth_minimum(first, first, 2.0)[0] == pytest.approx(3.5)
