"""Enhanced vessels are seen in the pixels; blood, calcium and devices are not taken for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.drawn_heads import SIZE, head, refusal, volume
from triage.domain.finding import ReasonCode
from triage.inference.plausible import check_living_head, measure_head


def vessels(hu: NDArray[np.float32], columns: tuple[int, ...], agent_hu: float) -> NDArray[np.float32]:
    """The head with a vessel of 4.5 mm at these columns of the middle row on every slice."""
    enhanced = hu.copy()
    for column in columns:
        enhanced[:, SIZE // 2 - 1 : SIZE // 2 + 2, column : column + 3] = agent_hu
    return enhanced


def sinus(hu: NDArray[np.float32], blood_hu: float, turn: int = 0) -> NDArray[np.float32]:
    """The head with a sagittal sinus, 9 mm wide and 7.5 mm deep, ``turn`` pixels beside the middle of the back."""
    filled = hu.copy()
    column = SIZE // 2 + turn
    for image in filled:
        wall = SIZE // 2 + int((image[SIZE // 2 :, column] > 300).argmax())
        image[wall - 5 : wall, column - 3 : column + 3] = blood_hu
    return filled


FOUR = (50, 62, 86, 98)


def test_a_sinus_that_stands_out_is_contrast() -> None:
    said = refusal(sinus(head(), 160.0), ReasonCode.CONTRAST)
    assert "The sagittal sinus stands out by" in said
    assert "vessels" not in said


def test_vessels_and_a_sinus_are_contrast() -> None:
    said = refusal(vessels(sinus(head(), 95.0), FOUR, 120.0), ReasonCode.CONTRAST)
    assert "several vessels of more than 90 HU are seen over" in said


@pytest.mark.parametrize("turn", [-15, 15])
def test_contrast_is_seen_in_a_turned_head(turn: int) -> None:
    refusal(sinus(head(), 170.0, turn), ReasonCode.CONTRAST)


def test_contrast_is_seen_in_a_head_that_lies_on_its_face() -> None:
    """The image is upside down then, and its orientation says so."""
    upright = volume(sinus(head(), 160.0))
    prone = replace(upright, hu=upright.hu[:, ::-1, ::-1].copy(), orientation=-upright.orientation)
    assert measure_head(upright).sinus_excess_hu > 60.0
    assert measure_head(prone).sinus_excess_hu > 60.0


@pytest.mark.parametrize("blood_hu", [55.0, 80.0])
def test_blood_and_clot_in_the_sinus_are_no_contrast(blood_hu: float) -> None:
    check_living_head(volume(sinus(head(), blood_hu)))


def test_fluid_under_an_old_skull_makes_no_contrast_of_a_plain_sinus() -> None:
    """Beside fluid the sinus stands out by 50 HU, beside brain by 25: brain decides."""
    hu = head()
    hu[(hu > 32) & (hu < 60)] = 8.0
    assert measure_head(volume(sinus(hu, 60.0))).sinus_excess_hu < 30.0
    check_living_head(volume(sinus(hu, 60.0)))


def test_blood_under_the_whole_skull_is_no_contrast() -> None:
    hu = head()
    hu[(hu > 32) & (hu < 60)] = 80.0
    assert measure_head(volume(hu)).sinus_excess_hu < 15.0
    check_living_head(volume(hu))


@pytest.mark.parametrize(
    ("columns", "hu"), [((70,), 250.0), (FOUR, 75.0), (FOUR, 1200.0)], ids=["shunt", "blood", "metal"]
)
def test_a_shunt_and_blood_and_wires_are_no_contrast(columns: tuple[int, ...], hu: float) -> None:
    check_living_head(volume(vessels(sinus(head(), 60.0), columns, hu)))


def test_calcium_beside_a_plain_sinus_is_no_contrast() -> None:
    check_living_head(volume(vessels(head(), FOUR, 200.0)))


def test_calcified_plexus_and_pineal_beside_a_dense_sinus_are_no_contrast() -> None:
    hu = sinus(head(), 65.0)
    hu[4:7] = vessels(hu[4:7], (60, 75, 95), 200.0)
    check_living_head(volume(hu))
