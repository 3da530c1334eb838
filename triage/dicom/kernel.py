"""What a convolution kernel's name says about the image: soft tissue, sharp, or unknown.

Names are the vendors' own (DICOM leaves them free), so this is a table of habits: Siemens letters and a number
that grows with sharpness, GE words, Philips letters, Canon/Toshiba FC numbers.
"""

from __future__ import annotations

import re
from enum import IntEnum

from triage.dicom.descriptions import speaks_of_sharp_kernel

_SIEMENS = re.compile(r"^[A-Z][A-Z]?(\d{2})[A-Z]*")
_SIEMENS_SHARP_FROM = 50
_CANON = re.compile(r"^FC(\d{2})")
_CANON_SHARP = (range(30, 40), range(50, 60), range(80, 90))
_GE_SOFT = ("STAND", "STD", "SOFT", "DETAIL", "BRAIN")
_PHILIPS_SOFT = frozenset({"A", "B", "C", "SA", "SB", "SC", "UA", "UB", "UC", "SMOOTH", "STANDARD", "BRAIN STANDARD"})
_PHILIPS_SHARP = frozenset({"D", "E", "L", "EB", "EC", "YA", "YB", "YC", "YD", "YE", "F"})
_SHARP_WORDS = ("BONE", "EDGE", "LUNG", "ULTRA", "SHARP", "CHST", "CHEST")


class Sharpness(IntEnum):
    """Fitness of a kernel for finding blood; greater is better."""

    SHARP = 0
    UNKNOWN = 1
    SOFT = 2


def sharpness(kernel: str, manufacturer: str, description: str = "") -> Sharpness:
    """Judge a kernel by its name, and where that says nothing by the words of the series description."""
    judged = _of_name(kernel.split("\\")[0].strip().upper(), manufacturer.upper())
    if judged is Sharpness.UNKNOWN and speaks_of_sharp_kernel(description):
        return Sharpness.SHARP
    return judged


def _of_name(name: str, manufacturer: str) -> Sharpness:
    if any(word in name for word in _SHARP_WORDS):
        return Sharpness.SHARP
    canon = _CANON.match(name)
    if canon:
        return _sharp(any(int(canon[1]) in numbers for numbers in _CANON_SHARP))
    if name.startswith(_GE_SOFT):
        return Sharpness.SOFT
    if "PHILIPS" in manufacturer and name in _PHILIPS_SOFT | _PHILIPS_SHARP:
        return _sharp(name in _PHILIPS_SHARP)
    siemens = _SIEMENS.match(name)
    if siemens:
        return _sharp(int(siemens[1]) >= _SIEMENS_SHARP_FROM)
    return Sharpness.UNKNOWN


def _sharp(sharp: bool) -> Sharpness:
    return Sharpness.SHARP if sharp else Sharpness.SOFT
