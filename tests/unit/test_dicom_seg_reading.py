"""The outlines that a page draws are those that were encoded, whatever the source looked like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cases import CASES
from tests.results import analysed
from triage.dicom.seg_reading import read_outlines
from triage.domain.encoded import ObjectKind
from triage.domain.errors import UnreadableInstance
from triage.domain.finding import KINDS, Subtype
from triage.domain.volume import SliceSource

WITH_BLOOD = [name for name in CASES if name not in ("negative", "suspected without segment")]


@pytest.mark.parametrize("kind", [ObjectKind.SEG, ObjectKind.SEG_LABELMAP])
@pytest.mark.parametrize("name", WITH_BLOOD)
def test_the_labels_come_back_slice_by_slice(name: str, kind: ObjectKind, shared_data: Path) -> None:
    case = CASES[name](shared_data)
    outlines = read_outlines(case.seg(kind=kind).content)
    for source, labels in zip(case.volume.sources, case.labels, strict=True):
        found = outlines.labels(source)
        assert (found is None) is not labels.any()
        assert found is None or np.array_equal(found, labels)
        assert outlines.subtypes(source) == tuple(KINDS[n - 1] for n in np.unique(labels) if n)


def test_a_frame_without_blood_has_no_labels() -> None:
    outlines = read_outlines(analysed(subtypes=[Subtype.SDH]).seg().content)
    assert outlines.labels(SliceSource("2.25.1", 1)) is None
    assert outlines.subtypes(SliceSource("2.25.1", 1)) == ()


def test_it_knows_how_much_memory_it_takes() -> None:
    outlines = read_outlines(analysed().seg().content)
    assert len(outlines.pixels) < outlines.size_bytes < len(outlines.pixels) + 10_000


@pytest.mark.parametrize("damage", [
    lambda content: b"no DICOM at all",
    lambda content: content[:200],
    lambda content: content[: len(content) // 2],
    lambda content: content[:-300],
    lambda content: content.replace(b"BINARY", b"BANANA"),
    lambda content: content.replace(b"SDH subdural", b"XXX whatever"),
], ids=["no DICOM", "its head", "half", "pixels cut", "another type", "another label"])  # fmt: skip
def test_a_damaged_object_is_refused_with_one_sentence(damage: object) -> None:
    content = analysed().seg().content
    with pytest.raises(UnreadableInstance, match="cannot be read"):
        read_outlines(damage(content))


def test_probabilities_are_no_outlines() -> None:
    case = analysed(subtypes=[Subtype.IPH])
    maps = {Subtype.IPH: np.where(case.labels > 0, 200, 0).astype(np.uint8)}
    with pytest.raises(UnreadableInstance):
        read_outlines(case.seg(kind=ObjectKind.SEG_FRACTIONAL, probabilities=maps).content)
