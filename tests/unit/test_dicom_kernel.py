"""Kernel names of the vendors, and what they say about finding blood."""

from __future__ import annotations

import pytest

from triage.dicom.kernel import Sharpness, sharpness

SIEMENS, GE, PHILIPS, CANON = "SIEMENS", "GE MEDICAL SYSTEMS", "Philips", "Canon Medical Systems"


@pytest.mark.parametrize(
    ("maker", "kernel"),
    [
        (SIEMENS, "H30s"),
        (SIEMENS, "H31f"),
        (SIEMENS, "J40s\\3"),
        (SIEMENS, "Hr40f\\3"),
        (SIEMENS, "Hc40f"),
        (SIEMENS, "Qr36d"),
        (GE, "STANDARD"),
        (GE, "STD+"),
        (GE, "SOFT"),
        (GE, "DETAIL"),
        (PHILIPS, "UB"),
        (PHILIPS, "UC"),
        (PHILIPS, "B"),
        ("TOSHIBA", "FC21"),
        (CANON, "FC26"),
        (CANON, "FC64"),
    ],
)
def test_soft_kernels(maker: str, kernel: str) -> None:
    assert sharpness(kernel, maker) is Sharpness.SOFT


@pytest.mark.parametrize(
    ("maker", "kernel"),
    [
        (SIEMENS, "H60s"),
        (SIEMENS, "Hr64h"),
        (SIEMENS, "U90u"),
        (GE, "BONE"),
        (GE, "BONEPLUS"),
        (GE, "EDGE"),
        (GE, "LUNG"),
        (PHILIPS, "YB"),
        (PHILIPS, "D"),
        ("TOSHIBA", "FC30"),
        (CANON, "FC52"),
        (CANON, "FC81"),
    ],
)
def test_sharp_kernels(maker: str, kernel: str) -> None:
    assert sharpness(kernel, maker) is Sharpness.SHARP


def test_what_is_not_known_stays_unknown_until_the_description_speaks() -> None:
    assert sharpness("", SIEMENS) is Sharpness.UNKNOWN
    assert sharpness("SOMETHING", "UNITED") is Sharpness.UNKNOWN
    assert sharpness("UB", "UNITED") is Sharpness.UNKNOWN
    assert sharpness("", SIEMENS, "HEAD BONE 2.0") is Sharpness.SHARP
    assert sharpness("H30s", SIEMENS, "bone window of the head") is Sharpness.SOFT


def test_soft_is_better_than_unknown_is_better_than_sharp() -> None:
    assert Sharpness.SOFT > Sharpness.UNKNOWN > Sharpness.SHARP
