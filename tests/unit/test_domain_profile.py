"""What a profile may hold, and which results it wants."""

from __future__ import annotations

import pytest

from tests.stores import result
from triage.domain.encoded import SEG_KINDS, SR_KINDS, ObjectKind
from triage.domain.profile import Profile

SEG, SR = ObjectKind.SEG, ObjectKind.SR


def test_the_kinds_of_segmentation_and_report() -> None:
    assert (Profile((SEG, SR)).seg_kind, Profile((SEG, SR)).sr_kind) == (SEG, SR)
    assert (Profile((ObjectKind.KOS,)).seg_kind, Profile(()).sr_kind) == (None, None)
    for seg in SEG_KINDS:
        for sr in SR_KINDS:
            assert (Profile((sr, seg)).seg_kind, Profile((sr, seg)).sr_kind) == (seg, sr)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"objects": (SR, SR)}, "twice"),
        ({"objects": (SEG, ObjectKind.SEG_LABELMAP)}, "two kinds of segmentation"),
        ({"objects": (SR, ObjectKind.SR_TEXT)}, "two kinds of report"),
        ({"objects": (SR, ObjectKind.ORU)}, "configure a notifier"),
        ({"objects": (ObjectKind.KOS_REJECTED,)}, "reject_superseded"),
        ({"objects": (SEG,), "undetermined": True}, "kind of report"),
    ],
)
def test_what_cannot_be(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Profile(**given)


def test_which_results_are_wanted() -> None:
    suspected, quiet = result(0.9), result(0.2)
    assert Profile((SR,)).wants(suspected)
    assert Profile((SR,)).wants(quiet)
    assert Profile((SR,), only_suspected=True).wants(suspected)
    assert not Profile((SR,), only_suspected=True).wants(quiet)
