"""SYNTHETIC bodies, phantoms and noise that are no heads: ellipses in mm with HU from anatomy or from the material."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.onnx_models import volume_of
from triage.domain.volume import Volume

Floats = NDArray[np.float32]
SIDE = 128


class Canvas:
    """Slices of one scan, painted with ellipses in mm about the middle of the image."""

    def __init__(self, slices: int, field_mm: float) -> None:
        self.mm = field_mm / SIDE
        axis = (np.arange(SIDE) + 0.5 - SIDE / 2) * self.mm
        self.y, self.x = axis[:, None], axis[None, :]
        self.hu = np.full((slices, SIDE, SIDE), -1000.0, np.float32)

    def ellipse(self, centre: tuple[float, float], half: tuple[float, float], hu: float, of: slice = np.s_[:]) -> None:
        """Fill an ellipse (y, x) on the slices ``of``."""
        within = ((self.y - centre[0]) / half[0]) ** 2 + ((self.x - centre[1]) / half[1]) ** 2 <= 1
        self.hu[of, within] = hu

    def scanned(self, rng: np.random.Generator, noise_hu: float = 8.0, step_mm: float = 5.0) -> Volume:
        """With noise, as a volume."""
        hu = self.hu + rng.normal(0, noise_hu, self.hu.shape).astype(np.float32)
        return volume_of(hu, [step_mm * i for i in range(len(hu))], step_mm, (self.mm, self.mm))


def _vertebra(canvas: Canvas, y: float, of: slice = np.s_[:]) -> None:
    canvas.ellipse((y, 0), (18, 24), 500.0, of)
    canvas.ellipse((y, 0), (15, 21), 180.0, of)
    canvas.ellipse((y + 26, 0), (13, 17), 600.0, of)
    canvas.ellipse((y + 26, 0), (8, 10), 20.0, of)


def _trunk(rng: np.random.Generator, wide: tuple[float, float] = (320, 420)) -> tuple[Canvas, float, float]:
    b, a = rng.uniform(*wide) / 2, rng.uniform(210, 280) / 2
    canvas = Canvas(int(rng.integers(28, 44)), rng.uniform(430, 500))
    fat = rng.uniform(8, 25)
    canvas.ellipse((0, 0), (a, b), -100.0)
    canvas.ellipse((0, 0), (a - fat, b - fat), 50.0)
    return canvas, a - fat, b - fat


def chest(rng: np.random.Generator) -> Volume:
    """Lungs, heart, spine, and ribs that run obliquely through the slices."""
    canvas, a, b = _trunk(rng)
    for side in (-1, 1):
        canvas.ellipse((0, side * 0.5 * b), (0.78 * a, 0.4 * b), -850.0)
    canvas.ellipse((-20, 15), (55, 60), 45.0)
    _vertebra(canvas, 0.45 * a)
    for index in range(len(canvas.hu)):
        for angle in np.arange(0, 2 * np.pi, 0.4) + 0.08 * index:
            place = (0.93 * a * np.sin(angle), 0.93 * b * np.cos(angle))
            canvas.ellipse(place, (6, 9), 450.0, np.s_[index : index + 1])
    return canvas.scanned(rng, 12.0)


def belly(rng: np.random.Generator) -> Volume:
    """Liver, kidneys, bowel and spine."""
    canvas, a, b = _trunk(rng)
    canvas.ellipse((-10, -0.4 * b), (0.7 * a, 0.45 * b), 58.0)
    for side in (-1, 1):
        canvas.ellipse((0.35 * a, side * 0.5 * b), (28, 24), 32.0)
    for _ in range(8):
        place = (rng.uniform(-0.6, 0.2) * a, rng.uniform(-0.2, 0.7) * b)
        canvas.ellipse(place, (14, 16), float(rng.choice([-900.0, 20.0, 40.0])))
    _vertebra(canvas, 0.45 * a)
    return canvas.scanned(rng, 12.0)


def pelvis(rng: np.random.Generator) -> Volume:
    """Iliac wings and sacrum: much of a ring of bone, around bowel and bladder."""
    canvas, a, b = _trunk(rng)
    for angle in np.linspace(0.1 * np.pi, 0.9 * np.pi, 40):
        canvas.ellipse((0.6 * a * np.sin(angle) - 10, 0.75 * b * np.cos(angle)), (9, 9), 500.0)
    canvas.ellipse((-0.2 * a, 0), (45, 50), 5.0)
    return canvas.scanned(rng, 12.0)


def knees(rng: np.random.Generator) -> Volume:
    """Two legs: a ring of cortical bone around fat marrow in each, with a patella."""
    canvas = Canvas(int(rng.integers(20, 40)), rng.uniform(300, 400))
    thick = rng.uniform(3, 7)
    for side in (-80.0, 80.0):
        radius = rng.uniform(55, 75)
        canvas.ellipse((0, side), (radius, radius), -100.0)
        canvas.ellipse((0, side), (radius - 12, radius - 12), 55.0)
        half = rng.uniform(16, 38)
        canvas.ellipse((5, side), (half, half * 1.1), 1100.0)
        canvas.ellipse((5, side), (half - thick, half * 1.1 - thick), float(rng.uniform(-80, 150)))
        canvas.ellipse((-radius + 18, side), (9, 20), 700.0)
    return canvas.scanned(rng)


def neck(rng: np.random.Generator) -> Volume:
    """Spine, airway and the arch of the mandible, with the shoulders below."""
    count = int(rng.integers(24, 40))
    canvas = Canvas(count, rng.uniform(220, 280))
    half = rng.uniform(55, 75)
    canvas.ellipse((0, 0), (half, half), -100.0)
    canvas.ellipse((0, 0), (half - 6, half - 6), 55.0)
    canvas.ellipse((-0.4 * half, 0), (9, 9), -990.0)
    _vertebra(canvas, 0.1 * half)
    for angle in np.linspace(1.1 * np.pi, 1.9 * np.pi, 30):
        place = (0.75 * half * np.sin(angle), 0.75 * half * np.cos(angle))
        canvas.ellipse(place, (5, 5), 1200.0, np.s_[2 * count // 3 :])
    return canvas.scanned(rng)


def filled_phantom(rng: np.random.Generator) -> Volume:
    """A shell with water, acrylic or brain-like filling, with or without inserts of a calibration phantom."""
    canvas = Canvas(int(rng.integers(16, 36)), rng.uniform(220, 280))
    half = (rng.uniform(80, 100), rng.uniform(70, 100))
    shell = float(rng.choice([120.0, 300.0, 900.0]))
    canvas.ellipse((0, 0), half, shell)
    inner = (half[0] - 7, half[1] - 7)
    filling = float(rng.choice([-20.0, 0.0, 33.0, 120.0]))
    canvas.ellipse((0, 0), inner, filling)
    if filling != 33.0 and rng.random() < 0.6:
        for number, hu in enumerate((-990.0, -95.0, 120.0, 955.0)):
            angle = number * np.pi / 2
            canvas.ellipse((45 * np.sin(angle), 45 * np.cos(angle)), (12, 12), hu)
    return canvas.scanned(rng, 4.0)


def noise(rng: np.random.Generator) -> Volume:
    """No object at all: white or coarse noise of any height."""
    shape = (int(rng.integers(16, 36)), SIDE, SIDE)
    values = rng.normal(rng.uniform(-500, 200), rng.uniform(50, 800), shape)
    if rng.random() < 0.5:
        values = np.repeat(np.repeat(values[:, ::8, ::8], 8, axis=1), 8, axis=2)
    mm = rng.uniform(1.6, 2.0)
    return volume_of(np.maximum(values, -1024).astype(np.float32), None, 5.0, (mm, mm))
