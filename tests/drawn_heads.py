"""SYNTHETIC heads of a few ellipses, and what the living-head check says of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.onnx_models import volume_of
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode
from triage.domain.volume import Volume
from triage.inference.plausible import check_living_head

SIZE = 160
PIXEL_MM = 1.5


def head(
    slices: int = 12,
    half_mm: tuple[float, float] = (85.0, 68.0),
    skull_mm: float = 6.0,
    skull_hu: float = 900.0,
    seed: int = 0,
    taper: float = 0.6,
) -> NDArray[np.float32]:
    """Scalp, skull, brain with a fluid core and noise: the least that is a head, shape (slice, 160, 160)."""
    rng = np.random.default_rng(seed)
    y = (np.arange(SIZE) + 0.5 - SIZE / 2)[:, None] * PIXEL_MM
    x = (np.arange(SIZE) + 0.5 - SIZE / 2)[None, :] * PIXEL_MM
    hu = np.full((slices, SIZE, SIZE), -1000.0, np.float32)
    for index in range(slices):
        shrink = 1.0 - taper * abs(index - slices / 2) / slices

        def within(extra_mm: float, shrink: float = shrink) -> NDArray[np.bool_]:
            return np.asarray(
                (y / max(half_mm[0] * shrink + extra_mm, 8.0)) ** 2
                + (x / max(half_mm[1] * shrink + extra_mm, 8.0)) ** 2
                <= 1.0
            )

        hu[index][within(skull_mm + 5)] = 30.0
        hu[index][within(skull_mm)] = skull_hu
        hu[index][within(0)] = 36.0
        hu[index][within(-12)] = 28.0
        hu[index][within(-40)] = 8.0
    return hu + rng.normal(0, 3, hu.shape).astype(np.float32)


def volume(hu: NDArray[np.float32], pixel_mm: float = PIXEL_MM, step_mm: float = 5.0) -> Volume:
    return volume_of(hu, [step_mm * i for i in range(len(hu))], step_mm, (pixel_mm, pixel_mm))


def refusal(hu: NDArray[np.float32], reason: ReasonCode = ReasonCode.OUT_OF_DISTRIBUTION, **how: float) -> str:
    with pytest.raises(UnusableSeries) as caught:
        check_living_head(volume(hu, **how))
    assert caught.value.reason is reason
    return str(caught.value)
