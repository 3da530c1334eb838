"""The lower head of the procedural anatomy: skull base, bones of the face, upper neck, air spaces, skin.

``x``, ``y`` and ``z`` are the head coordinates in mm of the nodes of a lattice, arrays of one shape; depths and other
fields have the same. Both sides are alike but for the noise in ``rough`` and the smooth bending of every head.
"""

from __future__ import annotations

import numpy as np

from trainer.phantom.depths import ellipsoid, rod
from trainer.phantom.fields import Floats

Rough = tuple[Floats, ...]
"""Four noise fields at the nodes, standard deviation 1."""


def skull_floor(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Height z of the skull base under (x, y).

    Anterior fossa with the bulging roofs of the orbits, the edge of the sphenoid wings, middle fossa, petrous ridges,
    posterior fossa with the foramen magnum, and between them sella, clinoids and clivus.
    """
    lateral = np.abs(x)
    middle = -47 + rng.uniform(-3, 3)
    wing = 13 + 0.32 * lateral + rng.uniform(-2, 2)
    petrous = -7 - rng.uniform(0.6, 0.85) * lateral
    front = np.clip((y - wing) / 7 + 0.5, 0, 1)
    back = np.clip((petrous - y) / 9 + 0.5, 0, 1)
    outer = np.maximum(np.clip((lateral - 11) / 8, 0, 1), np.clip((-27 - y) / 8, 0, 1))
    roofs = np.exp(-(((lateral - 28) / 15) ** 2) - ((y - 42) / 22) ** 2)
    anterior = -30 + rng.uniform(-2, 2) + rng.uniform(9, 15) * roofs
    posterior = -62 + rng.uniform(-3, 3) + 0.008 * x**2 + 0.004 * (y + 50) ** 2
    floor = middle + (anterior - middle) * front + (posterior - middle) * back
    crest = np.exp(-(((y - petrous) / 6) ** 2)) * np.clip((64 - lateral) / 8, 0, 1) * np.clip((lateral - 8) / 8, 0, 1)
    floor = floor + rng.uniform(11, 17) * crest
    floor = floor + rng.uniform(3, 7) * np.exp(-(((y - wing) / 4) ** 2)) * np.clip((lateral - 10) / 6, 0, 1)
    clivus = -31 - 1.6 * np.clip(-9 - y, 0, 25)
    dorsum = 8 * np.exp(-(((y + 7) / 3.5) ** 2)) - 5 * np.exp(-(((y - 2) / 5) ** 2))
    centre = np.where(y > wing, floor, clivus + dorsum * np.clip((10 - lateral) / 4, 0, 1))
    floor = centre + (floor - centre) * outer
    hole = np.clip((16 - np.hypot(x, 0.85 * (y + 43))) / 4, 0, 1)
    return np.asarray(floor - 60 * hole, np.float32)


def base_bone(
    rng: np.random.Generator, x: Floats, y: Floats, z: Floats, inner: Floats, plain: Floats, rough: Rough
) -> Floats:
    """Depth inside the bones of base, face and neck; ``plain`` is ``inner`` without its inward crests."""
    lateral = np.abs(x)
    parts = [
        *_bones_of_base(rng, lateral, y, z, inner, plain, rough),
        *_bones_of_face(lateral, x, y, z, rough),
        *_bones_of_neck(lateral, x, y, z),
    ]
    return np.asarray(np.maximum.reduce(parts) + 0.7 * rough[3], np.float32)


def _bones_of_base(
    rng: np.random.Generator, lateral: Floats, y: Floats, z: Floats, inner: Floats, plain: Floats, rough: Rough
) -> list[Floats]:
    """The plate under the brain, petrous bones, mastoids, clivus, sphenoid wings, pterygoids, occipital condyles."""
    plate = np.minimum(-inner, 3.8 + 2 * rough[1] + plain)
    slope = rng.uniform(0.62, 0.8)
    ridge = 8.5 - np.hypot(z + 42, 0.85 * (y + 7 + slope * lateral)) + 1.5 * rough[2]
    petrous = np.minimum(ridge, np.minimum(62 - lateral, lateral - 9))
    mastoid = ellipsoid(lateral, y, z, (56, -40, -48), (11, 16, 20))
    clivus = np.minimum(12 - lateral, 6 - np.abs(y + 6 - 0.6 * (z + 40))) + np.minimum(0, z + 72)
    clivus = np.minimum(clivus, -28 - z)
    lesser_wing = rod(lateral, y, z, (14, 18, -27), (46, 28, -22), 3.5)
    greater_wing = rod(lateral, y, z, (46, 26, -26), (52, 20, -52), 4.0)
    pterygoid = rod(lateral, y, z, (13, 14, -50), (12, 10, -84), 3.0)
    condyles = ellipsoid(lateral, y, z, (21, -38, -70), (8, 12, 8))
    return [plate, petrous, mastoid, clivus, lesser_wing, greater_wing, pterygoid, condyles]


def _bones_of_face(lateral: Floats, x: Floats, y: Floats, z: Floats, rough: Rough) -> list[Floats]:
    """Cheeks, rims of the orbits, jaws with condyle and coronoid process, nose, palate, nasal septum."""
    zygoma = rod(lateral, y, z, (48, 54, -58), (60, 38, -58), 5.5)
    arch = rod(lateral, y, z, (60, 38, -58), (66, -10, -50), 3.2)
    rim = rod(lateral, y, z, (50, 58, -32), (48, 56, -54), 4.5)
    condyle = rod(lateral, y, z, (50, -10, -52), (50, -4, -104), 4.5)
    coronoid = rod(lateral, y, z, (48, 18, -62), (48, 12, -100), 3.0)
    nose = rod(lateral, y, z, (4, 74, -30), (5, 84, -48), 2.6)
    maxilla = np.minimum(4.0 - np.abs(np.hypot(0.8 * lateral, 0.75 * (y - 30)) - 32), -50 - z)
    maxilla = np.minimum(maxilla, y - 26)
    palate = np.minimum(2.5 - np.abs(z + 88), 28 - np.hypot(x, 0.7 * (y - 42)))
    septum = np.minimum(1.2 - np.abs(x - 2 * rough[0]), 24 - np.abs(y - 52))
    septum = np.minimum(septum, np.minimum(-38 - z, z + 88))
    return [zygoma, arch, rim, condyle, coronoid, nose, maxilla, palate, septum]


def _bones_of_neck(lateral: Floats, x: Floats, y: Floats, z: Floats) -> list[Floats]:
    """The atlas with its lateral masses and transverse processes, and the axis with its dens."""
    atlas = 5.5 - np.abs(np.hypot(x / 1.25, y + 40) - 19) - np.clip(np.abs(z + 84) - 6, 0, None)
    mass = ellipsoid(lateral, y, z, (22, -34, -84), (9, 9, 9))
    process = rod(lateral, y, z, (24, -34, -84), (40, -34, -84), 4.0)
    dens = rod(x, y, z, (0, -26, -74), (0, -26, -112), 5.5)
    axis = 5 - np.abs(np.hypot(x / 1.3, y + 44) - 17) - np.clip(z + 98, 0, None)
    return [atlas, mass, process, dens, axis]


def air_spaces(rng: np.random.Generator, x: Floats, y: Floats, z: Floats) -> Floats:
    """Depth inside the air of sinuses, nose, throat and ear canals."""
    lateral = np.abs(x)
    frontal = rng.uniform(0.3, 1.3)
    cavity = np.minimum(13 - lateral, np.minimum(26 - np.abs(y - 50), 18 - np.abs(z + 66)))
    shells = 3.0 - np.hypot(lateral - 7, 0.6 * (np.mod(z + 66, 14) - 7)) + 0.08 * (26 - np.abs(y - 50))
    parts = [
        ellipsoid(x + rng.normal(0, 2), y, z, (0, 16, -40), (12, 12, 9)),
        ellipsoid(lateral, y, z, (29, 44, -66), (14, 17, 15)),
        ellipsoid(lateral, y, z, (11, 72, -10), (14, 5 * frontal, 12 * frontal)),
        np.minimum(cavity, -shells),
        ellipsoid(x, y, z, (0, 8, -84), (12, 9, 22)),
        rod(lateral, y, z, (46, -28, -44), (84, -26, -48), 3.2),
    ]
    return np.asarray(np.maximum.reduce(parts), np.float32)


def skin(rng: np.random.Generator, x: Floats, y: Floats, z: Floats, inner: Floats) -> Floats:
    """Depth under the skin of skull, face, ears and neck."""
    around = inner + rng.uniform(12, 16)
    face = ellipsoid(x, y, z, (0, 18, -58), (rng.uniform(66, 73), rng.uniform(62, 68), 82))
    brow = ellipsoid(x, y, z, (0, 40, -22), (56, 46, 36))
    nose = ellipsoid(x, y, z, (0, 82, -58), (12, 20, 22))
    neck = np.minimum(ellipsoid(x, y, np.zeros_like(z), (0, -32, 0), (rng.uniform(60, 70), 70, 1e3)), -34 - z)
    lateral = np.abs(x)
    ear = np.minimum(2.4 - np.abs(lateral - 75 + 0.35 * (y + 36)), 20 - np.hypot(y + 36, 0.7 * (z + 42)))
    sockets = ellipsoid(lateral, y, z, (32, 82, -38), (13, 11, 9))
    whole = np.maximum.reduce([around, face, brow, neck])
    whole = np.maximum(np.minimum(whole, -sockets), np.maximum(nose, ear))
    return np.asarray(whole, np.float32)
