"""Around the sella: bone with marrow, venous blood and calcium, where they belong and never called blood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.bare_heads import NOTHING, through, touched
from trainer.phantom.procedural import procedural_anatomy
from trainer.phantom.scene import Head, draw_head
from trainer.phantom.sella import Plate, Sella, draw_sella
from trainer.phantom.solids import Blob, Tube

MIDDLE = (0.0, -8.0, -20.0)


@pytest.fixture(scope="module")
def head() -> Head:
    rng = np.random.default_rng(61)
    return draw_head(rng, procedural_anatomy(rng), bleeding=False, pitch_deg=3.0)


def drawn(count: int) -> list[Sella]:
    return [draw_sella(np.random.default_rng([5, number]), 50.0) for number in range(count)]


def test_what_is_drawn_lies_around_the_sella() -> None:
    for sella in drawn(200):
        places = [plate.centre for plate in sella.plates] + [clot.centre for clot in sella.clots]
        places += [spot for wall in sella.walls for spot in wall.path]
        for x, y, z in places:
            assert abs(x) < 20
            assert -18 < y < 14
            assert -44 < z < -10


def test_each_part_is_there_as_often_as_it_is_said_and_not_always() -> None:
    many = drawn(600)
    dorsum = np.mean([any(abs(plate.centre[0]) < 5 for plate in sella.plates) for sella in many])
    clinoids = np.mean([sum(abs(plate.centre[0]) > 9 for plate in sella.plates) == 2 for sella in many])
    sinuses = np.mean([sum(clot.centre[2] < -28 for clot in sella.clots) == 2 for sella in many])
    walls = np.mean([bool(sella.walls) for sella in many])
    assert dorsum == pytest.approx(0.67, abs=0.06)
    assert clinoids == pytest.approx(0.5, abs=0.06)
    assert sinuses == pytest.approx(0.7, abs=0.06)
    assert walls == pytest.approx(0.35, abs=0.06)


def test_the_cavernous_sinuses_are_as_dense_as_the_blood_of_the_head() -> None:
    dense = [clot.hu for n in range(300) for clot in draw_sella(np.random.default_rng(n), 62.0).clots if clot.hu < 100]
    assert np.mean(dense) == pytest.approx(62.0, abs=1.0)


def test_a_thin_slice_shows_marrow_within_a_shell(head: Head) -> None:
    plate = Plate(MIDDLE, (12.0, 7.0, 9.0), 1.5, 500.0, 70.0)
    pair = through(head, MIDDLE, replace(NOTHING, sella=Sella((plate,), (), ())))
    seen = pair[1].hu[touched(pair)]
    assert ((seen > 50) & (seen < 100)).sum() > 10
    assert (seen > 200).sum() > 10
    assert not pair[1].blood.any()


def test_blobs_and_walls_are_painted_where_they_are(head: Head) -> None:
    clot, wall = Blob((8.0, -8.0, -20.0), 4.0, 1.0, 60.0), Tube(((-9.0, -8.0, -20.0), (-9.0, 2.0, -20.0)), 1.5, 400.0)
    pair = through(head, MIDDLE, replace(NOTHING, sella=Sella((), (clot,), (wall,))))
    here = touched(pair)
    assert pair[1].hu[here].max() > 200
    assert 20 < here.sum() * 1.6**2 < 140


def test_all_else_of_a_head_is_as_it_was_without(head: Head) -> None:
    """It has a random stream of its own, so that it could be left out of a pair of heads."""
    mimics = head.mimics
    assert mimics is not None
    pair = through(head, MIDDLE, mimics), through(head, MIDDLE, replace(mimics, sella=Sella((), (), ())))
    near = touched((pair[0][1], pair[1][1]))
    rows, columns = np.nonzero(near)
    assert not len(rows) or max(np.ptp(rows), np.ptp(columns)) * 1.6 < 60
