"""What can be switched off, and that switching one thing off leaves all else exactly as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trainer.phantom.acquisition import detected, draw_acquisition, with_artefacts
from trainer.phantom.ingredients import Ingredient, left_out
from trainer.phantom.pose import axial_plane
from trainer.phantom.procedural import procedural_anatomy
from trainer.phantom.scene import Head, cut, draw_head
from triage.domain.finding import Subtype


def _head(without: frozenset[str] = frozenset()) -> Head:
    rng = np.random.default_rng(77)
    anatomy = procedural_anatomy(rng)
    return draw_head(rng, anatomy, bleeding=True, subtypes=(Subtype.IPH, Subtype.SDH), pitch_deg=3.0, without=without)


@pytest.fixture(scope="module")
def whole() -> Head:
    return _head()


@pytest.mark.parametrize("ingredient", Ingredient)
def test_a_head_without_one_thing_is_otherwise_the_same(whole: Head, ingredient: Ingredient) -> None:
    head = _head(frozenset({ingredient.value}))
    np.testing.assert_array_equal(head.pose.matrix, whole.pose.matrix)
    np.testing.assert_array_equal(head.texture.folds.atlases[0], whole.texture.folds.atlases[0])
    assert [repr(bleed) for bleed in head.bleeds] == [repr(bleed) for bleed in whole.bleeds]
    assert head.wobble_mm == whole.wobble_mm
    assert (head.mimics == whole.mimics) == (ingredient is not Ingredient.MIMICS)
    assert head.partial_volume == (ingredient is not Ingredient.PARTIAL_VOLUME)
    ring = {key: getattr(whole.tissue, key) for key in ("ring", "ring_mm", "cortex_glow")}
    assert replace(head.tissue, **ring) == whole.tissue
    assert (head.tissue == whole.tissue) == (ingredient is not Ingredient.INNER_TABLE)


@pytest.mark.parametrize("ingredient", Ingredient)
def test_a_scan_without_one_thing_is_otherwise_the_same(ingredient: Ingredient) -> None:
    for seed in range(12):
        scan = draw_acquisition(np.random.default_rng(seed))
        bare = draw_acquisition(np.random.default_rng(seed), without={ingredient})
        assert (bare.motion, bare.rest, bare.storage, bare.profile) == (
            scan.motion,
            scan.rest,
            scan.storage,
            scan.profile,
        )
        assert bare.beam.hardening == scan.beam.hardening
        if ingredient is Ingredient.NOISE:
            assert (bare.kernel.noise, bare.kernel.noise_mm, bare.kernel.band) == (6.0, 0.0, 0.0)
            assert bare.kernel.blur_mm == scan.kernel.blur_mm
        elif ingredient is Ingredient.INNER_TABLE:
            assert bare.beam.halo == bare.beam.bloom == bare.beam.ragged == bare.beam.cupping == 0
            assert replace(bare.kernel, blur_mm=scan.kernel.blur_mm) == scan.kernel
        else:
            assert bare == scan


def test_the_noise_of_two_kernels_does_not_move_anything_else(whole: Head) -> None:
    ideal = cut(whole, axial_plane(20.0, 96, 2.5, 5.0))
    scan = draw_acquisition(np.random.default_rng(3))
    images = [
        with_artefacts(ideal, one, np.random.default_rng(5), 2.5)
        for one in (scan, replace(scan, beam=replace(scan.beam, halo=0.0, streak_chance=0.0)))
    ]
    apart = images[0] - images[1]
    assert np.abs(apart[ideal.inner < -12]).max() < 1e-3
    quiet, loud = (replace(scan, kernel=replace(scan.kernel, noise=sd)) for sd in (1.0, 3.0))
    base = detected(images[0], replace(scan, kernel=replace(scan.kernel, noise=0.0)), np.random.default_rng(6), 2.5)
    added = [detected(images[0], one, np.random.default_rng(6), 2.5) - base for one in (quiet, loud)]
    np.testing.assert_allclose(3 * added[0][ideal.inner > 5], added[1][ideal.inner > 5], atol=1e-2)


def test_a_head_without_its_inner_table_has_a_dark_ring(whole: Head) -> None:
    ringed = _head(frozenset({"inner_table"}))
    plane = axial_plane(25.0, 128, 2.0, 5.0)
    full, dark = cut(whole, plane), cut(ringed, plane)
    rim = (full.inner > 0.8) & (full.inner < 2.0) & (full.blood.max(axis=0) == 0)
    assert dark.hu[rim].mean() < full.hu[rim].mean() - 5


def test_without_partial_volume_a_slice_is_one_plane(whole: Head) -> None:
    thin = _head(frozenset({"partial_volume"}))
    thick, single = (cut(thin, axial_plane(20.0, 96, 2.5, thickness)) for thickness in (8.0, 0.6))
    np.testing.assert_array_equal(thick.hu, single.hu)
    assert not np.array_equal(cut(whole, axial_plane(20.0, 96, 2.5, 8.0)).hu, thick.hu)
    assert set(np.unique(thick.blood)) <= {0.0, 1.0}


def test_an_unknown_ingredient_is_refused() -> None:
    assert left_out(["noise"]) == {Ingredient.NOISE}
    with pytest.raises(ValueError, match="salt"):
        left_out(["salt"])
