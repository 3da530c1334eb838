"""AE titles, UIDs and headers: what is let in from a peer, and what is not."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.domain.study import AeTitle, FrameGeometry, InstanceHeader, is_uid


@pytest.mark.parametrize("text", ["A", "ICHTRIAGE", "SIXTEEN-LETTERS!", "with space", "O'NEIL_1", "~"])
def test_ae_titles_that_peers_use(text: str) -> None:
    assert AeTitle(text).value == text
    assert str(AeTitle(text)) == text


def test_padding_is_no_part_of_an_ae_title() -> None:
    assert AeTitle("  STORE  ") == AeTitle("STORE")
    assert AeTitle("SIXTEEN-LETTERS!    ").value == "SIXTEEN-LETTERS!"


@pytest.mark.parametrize("text", ["", " ", "SEVENTEEN-LETTERS", "A\\B", "A\nB", "AB\n", "\tAB", "Ä", "A\x00", "A\x7f"])
def test_ae_titles_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="no AE title"):
        AeTitle(text)


@given(st.text(max_size=20))
def test_an_ae_title_is_printable_ascii_or_refused(text: str) -> None:
    try:
        made = AeTitle(text).value
    except ValueError:
        return
    assert made.isascii()
    assert made.isprintable()
    assert 1 <= len(made) <= 16
    assert "\\" not in made


@pytest.mark.parametrize("text", ["1", "1.2.840.10008.1.1", "2.25." + "9" * 38, "1.02.3", "0" * 64])
def test_uids_that_scanners_write(text: str) -> None:
    assert is_uid(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "1.", ".1", "1..2", "1.a", "1.2\n", " 1.2", "1.2 ", "1.2\x00", "../1", "1/2", "1" * 65, "١.٢", "²"],
)
def test_uids_that_are_none(text: str) -> None:
    assert not is_uid(text)


@given(st.text(alphabet="0123456789./\\ \n\x00abc", max_size=70))
def test_a_uid_never_holds_what_a_path_could_use(text: str) -> None:
    if is_uid(text):
        assert set(text) <= set("0123456789.")
        assert ".." not in text


def test_a_header_has_no_field_for_the_patient() -> None:
    names = {field.name for field in dataclasses.fields(InstanceHeader)}
    assert {name for name in names if "patient" in name} == {"patient_position"}
    assert not {name for name in names if "birth" in name or "physician" in name or "operator" in name}


def test_a_header_needs_its_identity_and_leaves_the_rest_empty() -> None:
    header = InstanceHeader("1.2.3", "1.2.4", "1.2.5", "1.2.6", "1.2.840.10008.1.2")
    assert (header.modality, header.image_type, header.frames, header.number_of_frames) == ("", (), (), 1)
    with pytest.raises(TypeError):
        InstanceHeader("1.2.3")  # type: ignore[call-arg]


def test_values_compare_and_hash_by_content() -> None:
    one = FrameGeometry((0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), 5.0)
    assert one == dataclasses.replace(one)
    assert len({one, dataclasses.replace(one)}) == 1
    assert one != dataclasses.replace(one, thickness_mm=None)
