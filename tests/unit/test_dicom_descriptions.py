"""Words of descriptions as they are typed on consoles."""

from __future__ import annotations

import pytest

from triage.dicom.descriptions import (
    is_contrast,
    speaks_of_head,
    speaks_of_other_body_part,
    speaks_of_sharp_kernel,
)

CONTRAST = [
    "CTA HEAD",
    "CT Angiography Head 1.0",
    "ANGIO_HEAD_0.75",
    "Head CTV",
    "CTP 5.0",
    "Perfusion 4D",
    "CT POST CONTRAST",
    "HEAD W CONTRAST",
    "Head w/ contrast",
    "HEAD W/C 5mm",
    "HEAD C+",
    "HEAD +C 5.0",
    "Brain postcontrast",
    "SCHAEDEL MIT KM",
    "Schädel KM 5.0",
    "CRANEO CONTRASTE",
    "W/O & W CONTRAST",
    "contrast enhanced",
    "Test Bolus",
    "PreMonitoring",
    "CT 4cc sec 150cc D3D on",
    "arterial 1.0",
    "VENOUS PHASE",
]
PLAIN = [
    "",
    "HEAD 5.0",
    "CT PLAIN THIN",
    "CT Thin Plain",
    "CT PRE CONTRAST 5MM STD",
    "PRECONTRAST",
    "HEAD WITHOUT CONTRAST",
    "HEAD W/O CONTRAST",
    "HEAD W/O",
    "Head wo contrast 5mm",
    "without IV contrast",
    "NON-CONTRAST HEAD",
    "NONCONTRAST",
    "non con head",
    "NCCT HEAD",
    "unenhanced 5.0 H30s",
    "SCHAEDEL NATIV",
    "Schädel ohne KM",
    "CRANE SANS INJECTION",
    "CRANEO SIN CONTRASTE",
    "TESTA SENZA MDC",
    "HEAD contrast: none",
    "STD+ BRAIN",
    "HEAD STD C",
    "CTHEAD",
    "Neuro HR",
    "HEAD 5.0 (enhanced conversion)",
    "edge enhanced",
]


@pytest.mark.parametrize("description", CONTRAST)
def test_contrast_is_heard(description: str) -> None:
    assert is_contrast(description)


@pytest.mark.parametrize("description", PLAIN)
def test_without_contrast_does_not_trigger(description: str) -> None:
    assert not is_contrast(description)


@pytest.mark.parametrize(
    "text", ["HEAD", "CTHEAD", "Brain 5.0", "HEAD_5MM", "SKULL", "Schädel nativ", "KOPF", "TETE", "cráneo", "Cerebrum"]
)
def test_a_head_is_heard(text: str) -> None:
    assert speaks_of_head(text)
    assert not speaks_of_other_body_part(text)


@pytest.mark.parametrize(
    "text", ["CHEST", "Thorax 1.0", "C-SPINE", "CSPINE", "NECK", "ABD/PELVIS", "SINUSES", "TEMPORAL BONE", "HWS", "IAC"]
)
def test_another_part_of_the_body_is_heard(text: str) -> None:
    assert speaks_of_other_body_part(text)
    assert not speaks_of_head(text)


@pytest.mark.parametrize("text", ["", "STD", "5.0 H30s", "AHEADOFTIME", "BRAINSTORMINGCHESTNUT", "UNKNOWN", "ROUTINE"])
def test_parts_of_words_and_unknown_words_say_nothing(text: str) -> None:
    assert not speaks_of_head(text)
    assert not speaks_of_other_body_part(text)


def test_sharp_words() -> None:
    assert speaks_of_sharp_kernel("HEAD BONE 2.0")
    assert speaks_of_sharp_kernel("Knochen")
    assert not speaks_of_sharp_kernel("HEAD SOFT 5.0")
