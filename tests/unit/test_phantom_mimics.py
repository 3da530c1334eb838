"""What looks like blood and is none: where it lies, how dense it is, how often it is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.bare_heads import BARE, NOTHING, through, touched
from trainer.phantom.dura import Sheet, draw_dura
from trainer.phantom.masses import Masses, Tumour, draw_masses
from trainer.phantom.mimics import Swelling, draw_mimics
from trainer.phantom.pose import axial_plane
from trainer.phantom.procedural import procedural_anatomy
from trainer.phantom.scene import Head, cut, draw_head
from trainer.phantom.solids import Blob, Tube, around, paint_tubes


@pytest.fixture(scope="module")
def head() -> Head:
    rng = np.random.default_rng(61)
    return draw_head(rng, procedural_anatomy(rng), bleeding=False, pitch_deg=3.0)


def test_no_mimic_is_ever_called_blood(head: Head) -> None:
    for z in (-40.0, -10.0, 20.0, 50.0):
        assert not cut(head, axial_plane(z, 96, 2.6, 5.0)).blood.any()


def test_the_sagittal_sinus_lies_behind_in_the_midline_under_the_bone(head: Head) -> None:
    dura = replace(BARE, sagittal_sinus=Sheet(4.0, 62.0), wall_hu=62.0)
    pair = through(head, (0.0, -40.0, 30.0), replace(NOTHING, dura=dura))
    changed = touched(pair)
    rows, columns = np.nonzero(changed)
    inner = pair[0].inner
    assert 10 < len(rows) < 120
    assert rows.min() > np.nonzero(inner > 0)[0].mean() + 20
    assert np.ptp(columns) * 1.6 < 20
    assert inner[changed].max() < 8
    assert pair[1].hu[changed & (inner > 1.5)].max() == pytest.approx(62.0, abs=6)


def test_the_wall_of_a_sinus_differs_from_its_lumen(head: Head) -> None:
    lumen, wall = (Sheet(5.0, 40.0), 75.0)
    dura = replace(BARE, sagittal_sinus=lumen, wall_hu=wall, sinus_depth_mm=8.0)
    pair = through(head, (0.0, -40.0, 30.0), replace(NOTHING, dura=dura))
    columns = np.nonzero(touched(pair))[1]
    middle = int(np.median(columns))
    profile = pair[1].hu[touched(pair).any(axis=1)].max(axis=0)
    assert profile[columns.min() : columns.max() + 1].max() > profile[middle] + 5


def test_a_tentorium_in_a_thick_slice_is_a_veil_and_not_stripes() -> None:
    rng = np.random.default_rng(62)
    head = draw_head(rng, procedural_anatomy(rng), bleeding=False, pitch_deg=1.0)
    dura = replace(BARE, tentorium=Sheet(0.6, 60.0))
    plane = axial_plane(head.height_mm((0.0, -60.0, -10.0)), 160, 1.0, 6.0)
    plain, veiled = (cut(replace(head, mimics=replace(NOTHING, dura=one)), plane) for one in (BARE, dura))
    added = (veiled.hu - plain.hu)[veiled.inner > 6]
    assert (added > 1).sum() > 100
    assert added.max() < 22  # 1.2 mm of 60 HU in 6 mm, crossed at a slant


def test_dense_blood_is_dense_in_vessels_and_sinuses_alike() -> None:
    thin, thick = (draw_dura(np.random.default_rng(3), blood_hu) for blood_hu in (40.0, 60.0))
    assert thick.sagittal_sinus.hu - thin.sagittal_sinus.hu == pytest.approx(20)
    assert thick.falx == thin.falx


def test_a_tube_is_as_thick_as_asked_and_nothing_is_painted_beyond() -> None:
    axis = np.arange(-20, 20, 0.5, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    points = np.stack([x, y, np.zeros_like(x)])[:, None]
    hu = np.zeros(points.shape[1:], np.float32)
    paint_tubes(hu, points, (Tube(((-10.0, 0.0, 0.0), (10.0, 0.0, 0.0)), 2.0, 50.0),))
    middle = hu[0, :, len(axis) // 2]
    assert (middle > 25).sum() * 0.5 == pytest.approx(4.0, abs=0.6)
    assert not hu[0, :, axis < -13].any()
    before = hu.copy()
    paint_tubes(hu, points, (Tube(((0.0, 0.0, 40.0), (0.0, 0.0, 60.0)), 2.0, 50.0),))
    np.testing.assert_array_equal(hu, before)


def test_far_away_points_are_not_looked_at() -> None:
    points = np.zeros((3, 2, 8, 8), np.float32)
    points[0] = np.arange(8)
    assert around(points, (0.0, 0.0, 50.0), 5.0) is None
    assert around(points, (2.0, 0.0, 0.0), 1.0) is not None


def test_calcium_lies_where_it_was_put(head: Head) -> None:
    spot = (0.0, -29.0, 3.0)
    pair = through(head, spot, replace(NOTHING, blobs=(Blob(spot, 3.0, 1.0, 300.0),)))
    assert pair[1].hu[touched(pair)].max() > 200
    assert 2 < touched(pair).sum() < 30


def test_an_old_infarct_darkens_and_never_brightens(head: Head) -> None:
    spot = (45.0, -20.0, 25.0)
    masses = Masses((Blob(spot, 18.0, 1.0, 14.0, 0.2, 3.0),), ())
    plain, painted = through(head, spot, replace(NOTHING, masses=masses))
    apart = painted.hu - plain.hu
    assert apart.max() < 0.01
    assert apart[plain.inner > 3].min() < -8


def test_a_tumour_is_dense_with_darker_brain_around_it(head: Head) -> None:
    spot = (35.0, -20.0, 30.0)
    tumour = Tumour(Blob(spot, 12.0, 1.0, 55.0, 0.05, 1.5), 20.0, 0.0, 12.0, 12.0)
    plain, painted = through(head, spot, replace(NOTHING, masses=Masses((), (tumour,))))
    apart = painted.hu - plain.hu
    assert apart.max() > 12
    assert apart[plain.inner > 0].min() < -4
    ringed = replace(tumour, rim_mm=4.0)
    hollow = through(head, spot, replace(NOTHING, masses=Masses((), (ringed,))))[1]
    assert hollow.hu.sum() < painted.hu.sum() - 500


def test_a_bruise_lifts_the_skin_and_leaves_the_brain_alone(head: Head) -> None:
    top = head.anatomy.surface[(head.anatomy.surface[:, 2] > 20) & (head.anatomy.surface[:, 2] < 40)]
    x, y, z = (float(value) for value in 1.1 * top[int(np.abs(top[:, 1]).argmin())])
    pair = through(head, (x, y, z), replace(NOTHING, scalp=(Swelling((x, y, z), 30.0, 10.0, 60.0),)))
    changed = touched(pair)
    assert changed.sum() > 50
    assert pair[0].inner[changed].max() < 0
    assert (pair[1].hu > -300).sum() > (pair[0].hu > -300).sum() + 20


def test_mimics_are_drawn_about_as_often_as_meant() -> None:
    surface = procedural_anatomy(np.random.default_rng(1)).surface
    drawn = [draw_mimics(np.random.default_rng(seed), surface) for seed in range(400)]
    assert 0.02 < np.mean([bool(one.masses.tumours) for one in drawn]) < 0.09
    assert 0.2 < np.mean([bool(one.masses.scars) for one in drawn]) < 0.4
    assert 0.12 < np.mean([bool(one.scalp) for one in drawn]) < 0.25
    assert 0.01 < np.mean([bool(one.metal) for one in drawn]) < 0.08
    assert 0.75 < np.mean([one.dura.falx.half_mm > 0 for one in drawn]) < 0.95
    assert draw_masses(np.random.default_rng(5), surface) == draw_masses(np.random.default_rng(5), surface)


def test_a_blob_changes_nothing_in_other_slices(head: Head) -> None:
    pair = through(head, (0.0, 0.0, 60.0), replace(NOTHING, blobs=(Blob((0.0, 0.0, -20.0), 3.0, 1.0, 300.0),)))
    np.testing.assert_array_equal(pair[0].hu, pair[1].hu)
