"""Where the tentorium and the free edge of the falx lie in every head, in head coordinates.

Both anatomies, the dura and the bleeds along it follow these, so that a layer of blood lies on the sheet that is
painted. Head coordinates are those of `trainer.phantom.anatomy`, mm.
"""

from __future__ import annotations

import numpy as np

from trainer.phantom.fields import Floats

_SLOPE = 0.55
_EDGE_LATERAL_MM, _EDGE_MM = 35, -22
"""The tentorium rises by this slope from its outer edge towards the midline."""


def tentorium_mm(lateral: Floats) -> Floats:
    """Height z of the tentorium at ``lateral``, the distance from the midline."""
    return _EDGE_MM + _SLOPE * (_EDGE_LATERAL_MM - lateral)


def above_tentorium_mm(z: Floats, lateral: Floats) -> Floats:
    """How far ``z`` lies above the tentorium. Not by `tentorium_mm`: that would change the last bit of made heads."""
    return z - _EDGE_MM - _SLOPE * (_EDGE_LATERAL_MM - lateral)


def posterior_fossa_mm(x: Floats, y: Floats, z: Floats) -> Floats:
    """Signed depth inside the posterior fossa, positive below the tentorium and behind the petrous ridges."""
    return np.asarray(np.minimum(-34 - y, tentorium_mm(np.abs(x)) - z), np.float32)


def from_callosum_mm(y: Floats, z: Floats) -> Floats:
    """Distance in the midline from the middle of the corpus callosum; the falx begins 42 mm from there."""
    return np.hypot(y + 20, z - 10)
