"""Heads with nothing in them but what a test puts there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainer.phantom.dura import Dura, Sheet
from trainer.phantom.masses import Masses
from trainer.phantom.mimics import Mimics
from trainer.phantom.points import Point
from trainer.phantom.pose import axial_plane
from trainer.phantom.scene import Cut, Head, cut
from trainer.phantom.sella import Sella

BARE = Dura(Sheet(0, 50), Sheet(0, 50), Sheet(0, 50), Sheet(0, 50), 5.0, 60.0, 0.0, ())
NOTHING = Mimics(BARE, (), (), Masses((), ()), (), (), (), Sella((), (), ()))


def through(head: Head, spot: Point, mimics: Mimics) -> tuple[Cut, Cut]:
    """The slice through ``spot`` with nothing and with ``mimics``."""
    plane = axial_plane(head.height_mm(spot), 160, 1.6, 3.0)
    plain, painted = (cut(replace(head, mimics=one), plane) for one in (NOTHING, mimics))
    return plain, painted


def touched(pair: tuple[Cut, Cut]) -> np.ndarray:
    plain, painted = pair
    return np.asarray(np.abs(painted.hu - plain.hu) > 1)
