from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.drawn_heads import PIXEL_MM, head
from trainer.judge.intracranial import intracranial
from trainer.judge.paste import PASTED, Inside, Lesion, covered, draw_lesion, pasted
from triage.domain.finding import Subtype


@cache
def slice_of_head() -> tuple[np.ndarray, Inside]:
    hu = head(slices=12, seed=1)[6]
    return hu, Inside(intracranial(hu, PIXEL_MM), PIXEL_MM)


def lesion(subtype: Subtype, **changes: object) -> Lesion:
    return replace(draw_lesion(np.random.default_rng(3), subtype, slice_of_head()[1]), **changes)


def test_inside_is_what_the_drawn_skull_encloses() -> None:
    _, inside = slice_of_head()
    area_mm2 = inside.mask.sum() * PIXEL_MM**2
    assert area_mm2 == pytest.approx(np.pi * 85 * 68, rel=0.06)
    assert inside.depth_mm.max() == pytest.approx(68, abs=5)


def test_no_skull_no_inside() -> None:
    assert not intracranial(np.full((160, 160), 30.0, np.float32), PIXEL_MM).any()


def test_calcium_is_part_of_the_brain() -> None:
    hu = slice_of_head()[0].copy()
    hu[78:82, 78:82] = 300.0
    assert intracranial(hu, PIXEL_MM)[79, 79]


@pytest.mark.parametrize("subtype", PASTED)
def test_the_same_stream_makes_the_same_lesion(subtype: Subtype) -> None:
    hu, inside = slice_of_head()
    one, other = (pasted(np.random.default_rng(5), hu, inside, lesion(subtype)) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1].any()


@pytest.mark.parametrize("subtype", PASTED)
def test_blood_has_its_density_and_leaves_the_bone_alone(subtype: Subtype) -> None:
    hu, inside = slice_of_head()
    blood = lesion(subtype, hu=60.0)
    changed, mask = pasted(np.random.default_rng(5), hu, inside, blood)
    assert not (mask & ~inside.mask).any()
    assert changed[mask & (inside.depth_mm > 3) & (hu < 45)].mean() == pytest.approx(60.0, abs=6.0)
    np.testing.assert_array_equal(changed[hu > 200], hu[hu > 200])
    far = inside.from_mm(blood.anchor_mm)[0] > blood.reach_mm * 1.5 + 20
    np.testing.assert_allclose(changed[far], hu[far], atol=0.1)


def test_the_noise_of_the_slice_stays() -> None:
    hu, inside = slice_of_head()
    changed, mask = pasted(np.random.default_rng(5), hu, inside, lesion(Subtype.IPH, reach_mm=25.0, hu=60.0))
    core = mask & (inside.depth_mm > 8)
    assert 2.0 < changed[core].std() < 6.0


def test_a_lens_is_thicker_and_shorter_than_a_crescent() -> None:
    _, inside = slice_of_head()
    areas = {}
    for subtype in (Subtype.EDH, Subtype.SDH):
        mask = covered(lesion(subtype), inside)
        touching = inside.depth_mm[mask].min()
        assert touching <= 2 * PIXEL_MM
        areas[subtype] = float(inside.depth_mm[mask].max())
    assert areas[Subtype.EDH] > areas[Subtype.SDH]


def test_a_crescent_stays_on_its_side() -> None:
    _, inside = slice_of_head()
    mask = covered(lesion(Subtype.SDH, thickness_mm=8.0, reach_mm=90.0), inside)
    assert mask.any()
    assert len(set(inside.side[mask].tolist())) == 1


def test_further_from_its_middle_a_lesion_is_smaller() -> None:
    _, inside = slice_of_head()
    for subtype in PASTED:
        whole = lesion(subtype)
        assert covered(whole.smaller(0.7), inside).sum() < covered(whole, inside).sum()


def test_nothing_is_pasted_where_there_is_no_brain() -> None:
    hu, inside = slice_of_head()
    empty = Inside(np.zeros_like(inside.mask), PIXEL_MM)
    changed, mask = pasted(np.random.default_rng(5), hu, empty, lesion(Subtype.EDH))
    assert changed is hu
    assert not mask.any()


def test_volumes_are_those_published() -> None:
    _, inside = slice_of_head()
    for subtype, median_ml in ((Subtype.EDH, 5.1), (Subtype.IPH, 9.3), (Subtype.SDH, 6.0)):
        drawn = [draw_lesion(rng, subtype, inside) for rng in np.random.default_rng(9).spawn(300)]
        volumes = np.array([one.volume_ml for one in drawn])
        assert np.median(volumes) == pytest.approx(median_ml, rel=0.15)
        assert volumes.min() >= 2.0
        assert volumes.max() <= 40.0


def test_sizes_of_the_first_experiment_are_larger() -> None:
    _, inside = slice_of_head()
    streams = np.random.default_rng(9).spawn(200)
    crescents = [draw_lesion(rng, Subtype.SDH, inside, "experiment") for rng in streams]
    assert np.median([one.thickness_mm for one in crescents]) == pytest.approx(5.7, abs=0.5)
    assert np.median([one.volume_ml for one in crescents]) > 12.0
    lenses = [draw_lesion(rng, Subtype.EDH, inside, "experiment") for rng in np.random.default_rng(9).spawn(200)]
    assert all(0.28 <= one.thickness_mm / one.reach_mm <= 0.62 for one in lenses)
