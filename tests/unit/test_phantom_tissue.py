"""Tissue of made heads: age, ribbon and sulci, the bone around and the air in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.phantom.anatomy import BrainFields, SkullFields
from trainer.phantom.fields import Floats
from trainer.phantom.sample import Sample
from trainer.phantom.skull import paint_outside
from trainer.phantom.tissue import Tissue, draw_tissue, fluid_fractions, paint_brain

_FRONT, _FLOOR = (20.0, 60.0, 30.0), (54.0, -40.0, -46.0)


def _tissue(**changes: float) -> Tissue:
    plain = {
        "inner_offset_mm": 0.0,
        "ring": 0.0,
        "patches": 0.0,
        "pallor": 0.0,
        "ragged_mm": 0.0,
        "cortex_glow": 0.0,
        "fissure_mm": 0.0,
        "white": 28.0,
        "grey": 37.0,
        "fluid": 6.0,
        "sulcus_mm": 1.0,
        "sulcus_fluid": 1.0,
        "ventricle_offset_mm": 0.0,
        "skull_mm": 6.0,
        "scalp_mm": 6.0,
    }
    return replace(draw_tissue(np.random.default_rng(1)), **{**plain, **changes})


def _line(values: Floats | float, count: int) -> Floats:
    return np.broadcast_to(np.asarray(values, np.float32), (1, 1, count)).copy()


def _sample(
    depth_mm: Floats, folds: Floats | float, at: tuple[float, float, float] = _FRONT, bone: float = -9
) -> Sample:
    """A row of points of the given depths under the inner table, all at one place of the head."""
    count = len(depth_mm)
    flat = _line(0, count)
    points = np.stack([_line(value, count) for value in at])
    return Sample(
        points=points,
        inside_points=points,
        skull=SkullFields(
            inner=_line(depth_mm, count), bone=_line(bone, count), skin=_line(depth_mm, count) + 14, outside=flat + 30
        ),
        brain=BrainFields(grey=flat + 0.5, white=flat + 0.5, ventricle=flat - 20, cistern=flat),
        broad=(flat,) * 4,
        fine=(flat,) * 4,
        folds=_line(folds, count),
    )


def test_ventricles_sulci_and_cisterns_widen_together() -> None:
    heads = [draw_tissue(np.random.default_rng(seed)) for seed in range(200)]
    age = [head.age for head in heads]
    assert np.corrcoef(age, [head.ventricle_offset_mm for head in heads])[0, 1] > 0.6
    assert np.corrcoef(age, [head.sulcus_mm for head in heads])[0, 1] > 0.6
    assert np.corrcoef(age, [head.cistern_level for head in heads])[0, 1] < -0.6


def test_grey_and_white_matter_have_the_hu_of_a_real_head() -> None:
    heads = [draw_tissue(np.random.default_rng(seed)) for seed in range(200)]
    assert 27 < np.median([head.white for head in heads]) < 30
    assert 7 < np.median([head.grey - head.white for head in heads]) < 12
    assert min(head.grey - head.white for head in heads) >= 4.5


def test_only_some_heads_have_a_dark_ring() -> None:
    ringed = np.mean([draw_tissue(np.random.default_rng(seed)).ring > 0 for seed in range(300)])
    assert 0.3 < ringed < 0.6


def test_cortex_is_brighter_than_white_matter_and_sulci_are_dark() -> None:
    tissue = _tissue(ribbon_share=0.9, sulcus_depth_mm=20.0, ribbon_mm=3.0)
    depth = np.array([10.0, 10.0, 10.0], np.float32)
    sample = _sample(depth, np.array([0.0, 0.9, 5.0], np.float32))
    fluid = fluid_fractions(sample, tissue)
    sulcus, ribbon, white = paint_brain(sample, tissue, fluid).ravel()
    assert sulcus < white < ribbon
    assert ribbon - white > 4
    assert sulcus < 12


def test_sulci_stay_out_of_the_posterior_fossa() -> None:
    depth = np.array([8.0], np.float32)
    above = fluid_fractions(_sample(depth, 0.0), _tissue()).sulci
    below = fluid_fractions(_sample(depth, 0.0, at=(20.0, -70.0, -45.0)), _tissue()).sulci
    assert above.max() > 0.9
    assert below.max() == 0


def test_cortex_glows_and_the_table_is_ragged_only_beside_bone() -> None:
    depth = np.array([0.3, 2.0, 30.0], np.float32)
    sample = _sample(depth, 5.0)
    bright = replace(sample, fine=(sample.fine[0] + 1, *sample.fine[1:]))
    plain, glowing, ragged = (
        paint_brain(one, tissue, fluid_fractions(one, tissue)).ravel()
        for one, tissue in (
            (sample, _tissue()),
            (sample, _tissue(cortex_glow=10.0, cortex_glow_mm=3.0)),
            (bright, _tissue(ragged_mm=1.0, ragged=400.0)),
        )
    )
    assert glowing[1] - plain[1] == pytest.approx(10 * np.exp(-2 / 3), abs=0.1)
    assert glowing[2] - plain[2] < 0.01
    assert ragged[0] > 200
    assert ragged[2] < 45


def test_skull_lies_between_brain_and_scalp_with_skin_around() -> None:
    depth = np.array([4.0, -1.2, -4.0, -8.5, -11.0, -40.0], np.float32)
    outside = paint_outside(_sample(depth, 0.0), _tissue(uneven=0.0, frontal_mm=0.0, skin_mm=2.0))
    bone, hu = outside.bone.ravel(), outside.hu.ravel()
    assert bone.tolist() == [0, 1, 1, 0, 0, 0]
    assert hu[1] > 300
    assert -120 < hu[3] < -50  # fat
    assert 20 < hu[4] < 60  # skin
    assert hu[5] == -1000


def test_the_forehead_is_thicker_than_the_temple() -> None:
    depth = -np.arange(0, 16, 0.5, dtype=np.float32)
    tissue = _tissue(uneven=0.0, frontal_mm=4.0)
    front = paint_outside(_sample(depth, 0.0, at=(5.0, 62.0, 20.0)), tissue).bone.sum()
    temple = paint_outside(_sample(depth, 0.0, at=(64.0, 0.0, 5.0)), tissue).bone.sum()
    assert front > temple + 4


def test_a_thin_plate_closes_the_base_but_not_the_foramen() -> None:
    depth = np.array([-1.2], np.float32)
    closed = paint_outside(_sample(depth, 0.0, at=(30.0, 30.0, -40.0)), _tissue()).bone.max()
    foramen = paint_outside(_sample(depth, 0.0, at=(0.0, -42.0, -70.0)), _tissue()).bone.max()
    assert closed > 0.9
    assert foramen == 0


def test_mastoid_bone_holds_air() -> None:
    depth = np.full(40, -20.0, np.float32)
    sample = _sample(depth, 0.0, at=_FLOOR, bone=8.0)
    points = sample.points.copy()
    points[0, 0, 0] += np.linspace(-8, 8, 40)
    sample = replace(sample, points=points, skull=replace(sample.skull, skin=sample.skull.skin + 40))
    with_air = paint_outside(sample, _tissue(mastoid_air=1.0)).hu
    without = paint_outside(sample, _tissue(mastoid_air=0.0)).hu
    assert with_air.min() < -300
    assert without.min() > 200
