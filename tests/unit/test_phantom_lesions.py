"""Bleeds are placed by anatomy, get the volume that was drawn, and are painted as dense as drawn."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from trainer.phantom.fitting import Probe, fitted, places_of
from trainer.phantom.layers import Crescent, Lens, Patch, past_sutures
from trainer.phantom.lesions import Bleed, draw_bleed, draw_bleeds, draw_subtypes, paint_bleeds
from trainer.phantom.points import Point
from trainer.phantom.procedural import procedural_anatomy
from trainer.phantom.sample import Fields
from trainer.phantom.scene import Head, draw_head, fields_in
from trainer.phantom.shapes import Clot
from trainer.phantom.volumes import SCORES, volume_at
from triage.domain.finding import SUBTYPES, Subtype


@pytest.fixture(scope="module")
def head() -> Head:
    rng = np.random.default_rng(70)
    return draw_head(rng, procedural_anatomy(rng), bleeding=False)


@pytest.fixture(scope="module")
def probe(head: Head) -> Probe:
    return Probe(partial(fields_in, head, bleeds=()), 1.0)


def block(head: Head, centre: Point, half_mm: float = 40.0, step_mm: float = 2.0) -> Fields:
    """All fields in a cube around ``centre``."""
    steps = np.arange(-half_mm, half_mm, step_mm, dtype=np.float32)
    z, y, x = np.meshgrid(*(steps + np.float32(c) for c in centre[::-1]), indexing="ij")
    return fields_in(head, np.stack([x, y, z]), ())


def near(head: Head, point: Point) -> Point:
    """The place under the inner table nearest to ``point``."""
    x, y, z = head.anatomy.surface[np.linalg.norm(head.anatomy.surface - np.array(point), axis=1).argmin()]
    return float(x), float(y), float(z)


@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("score", SCORES[1:4])
def test_a_bleed_gets_its_volume_in_this_head(head: Head, probe: Probe, subtype: Subtype, score: float) -> None:
    bleed = draw_bleed(np.random.default_rng(71), head.anatomy, subtype, probe, score=score)
    low, high = (np.array(corner) for corner in bleed.shape.box())
    axes = [np.arange(a, b, 1.25, np.float32) for a, b in zip(low, high, strict=True)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    sample, fluid, inner = fields_in(head, np.stack([x, y, z]), ())
    found = np.count_nonzero(bleed.shape.covers(sample, fluid, inner) & (inner > 0)) * 1.25**3 / 1000
    assert found == pytest.approx(volume_at(subtype, score), rel=0.3)


def test_a_shape_that_cannot_grow_enough_is_as_large_as_it_can_be(probe: Probe) -> None:
    small = Clot(((15.0, -20.0, 30.0),), (2.0,), (1.0, 1.0, 1.0))
    assert fitted(small, 50.0, probe, (1.2, 1.5)).scale == 1.5


def test_a_head_with_a_smaller_scale_gets_a_larger_shape(head: Head, probe: Probe) -> None:
    clot = Clot(((15.0, -20.0, 30.0),), (9.0,), (1.0, 1.0, 1.0))
    shrunk = replace(probe, millilitres=0.6)
    assert fitted(clot, 3.0, shrunk, (1.4, 2.2)).scale > 1.1 * fitted(clot, 3.0, probe, (1.4, 2.2)).scale


def test_a_lens_stops_at_the_suture_and_a_crescent_does_not(head: Head) -> None:
    centre = near(head, (62.0, 2.0, 25.0))
    patch = Patch(centre, (45.0, 45.0, 30.0), 12.0)
    fields = block(head, centre, half_mm=50.0)
    coronal = past_sutures(fields[0].points)[0]
    assert past_sutures(np.array(centre, np.float32))[0] < 0
    lens = Lens((patch,)).covers(*fields)
    crescent = Crescent((patch,), (), (), 1.0).covers(*fields)
    assert lens.any()
    assert coronal[lens].max() < 0
    assert coronal[crescent].max() > 10


def test_a_crescent_stays_on_its_side_of_the_falx(head: Head) -> None:
    centre = near(head, (12.0, -20.0, 80.0))
    fields = block(head, centre, half_mm=50.0)
    falx = (Patch((0.0, -60.0, 40.0), (30.0, 25.0, 25.0), 4.0),)
    covered = Crescent((Patch(centre, (60.0, 60.0, 60.0), 9.0),), falx, (), 1.0).covers(*fields)
    assert covered.any()
    assert fields[0].points[0][covered].min() > 0


def test_a_thin_layer_is_thick_enough_to_be_seen(head: Head) -> None:
    centre = near(head, (-60.0, -30.0, 25.0))
    thin = Crescent((Patch(centre, (30.0, 30.0, 25.0), 0.4),), (), (), -1.0)
    fields = block(head, centre, half_mm=15.0, step_mm=0.5)
    assert fields[2][thin.covers(*fields)].max() > 2.2


@pytest.mark.parametrize("subtype", [Subtype.IVH, Subtype.SAH])
def test_blood_in_fluid_lies_where_the_fluid_is(head: Head, probe: Probe, subtype: Subtype) -> None:
    bleed = draw_bleed(np.random.default_rng(74), head.anatomy, subtype, probe, score=0.3)
    places = places_of(bleed.shape, probe)
    fluid = fields_in(head, places.reshape(3, 1, 1, -1), ())[1]
    if subtype is Subtype.IVH:
        assert (fluid.ventricle > 0.45).mean() > 0.95
    else:
        assert (fluid.ventricle < 0.45).all()


def test_the_same_seed_draws_the_same_bleed_whatever_else_bleeds(head: Head) -> None:
    def drawn(subtypes: list[Subtype]) -> tuple[Bleed, ...]:
        return draw_bleeds(np.random.default_rng(75), head.anatomy, subtypes, partial(fields_in, head))

    alone, both = drawn([Subtype.EDH]), drawn([Subtype.SAH, Subtype.EDH])
    assert [bleed.subtype for bleed in both] == [Subtype.EDH, Subtype.SAH]
    assert alone[0] == both[0]


def test_larger_bleeds_can_be_asked_for(head: Head) -> None:
    def radius(seed: int, larger: float) -> float:
        rng = np.random.default_rng(seed)
        (bleed,) = draw_bleeds(rng, head.anatomy, [Subtype.IPH], partial(fields_in, head), larger=larger)
        assert isinstance(bleed.shape, Clot)
        return bleed.shape.radii_mm[0] * bleed.shape.scale

    grown = [radius(seed, 0.9) / radius(seed, 0.0) for seed in range(5)]
    assert min(grown) > 1
    assert np.median(grown) > 1.25


def test_several_subtypes_are_the_rule() -> None:
    rng = np.random.default_rng(77)
    heads = [draw_subtypes(rng) for _ in range(1000)]
    assert np.mean([len(subtypes) > 1 for subtypes in heads]) == pytest.approx(0.74, abs=0.04)
    assert all(len(set(subtypes)) == len(subtypes) for subtypes in heads)
    assert {subtype for subtypes in heads for subtype in subtypes} == set(SUBTYPES)


def a_clot(centre: Point, **changes: object) -> Bleed:
    plain = Bleed(Subtype.IPH, Clot((centre,), (12.0,), (1.0, 1.0, 1.0)), centre, 60.0, 0, 0, 0, 0, 0, 4.0, None)
    return replace(plain, **changes)  # type: ignore[arg-type]


def painted(head: Head, bleeds: tuple[Bleed, ...], centre: Point) -> tuple[np.ndarray, np.ndarray, Fields]:
    sample, fluid, inner = block(head, centre, half_mm=24.0)
    brain = np.full(inner.shape, 30.0, np.float32)
    return paint_bleeds(brain, sample, fluid, inner, bleeds), brain, (sample, fluid, inner)


WHITE_MATTER = (24.0, -20.0, 40.0)


def test_blood_is_as_dense_as_drawn_and_dark_around(head: Head) -> None:
    labels, brain, _ = painted(head, (a_clot(WHITE_MATTER, oedema_hu=8.0),), WHITE_MATTER)
    assert set(np.unique(labels)) == {0, SUBTYPES.index(Subtype.IPH) + 1}
    assert brain[labels > 0] == pytest.approx(60.0)
    assert brain[labels == 0].min() < 24


def swirled(head: Head, centre: Point) -> np.ndarray:
    labels, brain, _ = painted(head, (a_clot(centre, swirl_hu=20.0),), centre)
    return brain[labels > 0]


def test_fluid_stands_above_a_level_and_fresh_blood_swirls(head: Head) -> None:
    labels, brain, fields = painted(head, (a_clot(WHITE_MATTER, level_drop_hu=15.0),), WHITE_MATTER)
    front = fields[0].points[1] > WHITE_MATTER[1]
    assert brain[(labels > 0) & front] == pytest.approx(45.0)
    assert brain[(labels > 0) & ~front] == pytest.approx(60.0)
    inside = np.concatenate(
        [swirled(head, place) for place in (WHITE_MATTER, (-24.0, -20.0, 40.0), (24.0, 10.0, 40.0))]
    )
    assert inside.max() == pytest.approx(60.0)
    assert inside.min() >= 39.9
    assert 0.02 < (inside < 55).mean() < 0.7


def test_where_two_bleeds_meet_the_first_stays(head: Head) -> None:
    first = a_clot(WHITE_MATTER)
    second = a_clot(WHITE_MATTER, hu=80.0, shape=Clot((WHITE_MATTER,), (18.0,), (1.0, 1.0, 1.0)))
    labels, brain, _ = painted(head, (first, second), WHITE_MATTER)
    alone, _, _ = painted(head, (first,), WHITE_MATTER)
    assert brain[alone > 0] == pytest.approx(60.0)
    assert brain[(labels > 0) & (alone == 0)] == pytest.approx(80.0)


def test_large_bleeds_push_the_brain_and_small_ones_do_not(head: Head, probe: Probe) -> None:
    for subtype in (Subtype.EDH, Subtype.SDH, Subtype.IPH):
        small, large = (
            draw_bleed(np.random.default_rng(79), head.anatomy, subtype, probe, score=score) for score in (-1.3, 1.2)
        )
        assert small.push is None
        assert large.push is not None
        if subtype is not Subtype.IPH:
            x, _, _ = large.push.direction or (0.0, 0.0, 0.0)
            assert x * large.centre[0] < 0, "towards the midline"
            back = large.push.undo(np.array([0.0, -18.0, 8.0], np.float32).reshape(3, 1, 1, 1))
            assert np.linalg.norm(back) > 0.5, "the midline shifts"
