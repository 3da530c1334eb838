"""C-STORE status values, and what they mean to us (PS3.4 B.2.3, PS3.7 9.1.1.1.9 and Annex C)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from triage.domain.errors import DeliveryRefused, DeliveryUnconfirmed, TriageError

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
CANNOT_UNDERSTAND: Final = 0xC000
UNEXPECTED_FAILURE: Final = 0xC001
"""Ours, from the range that PS3.4 leaves to the implementation: a fault of this daemon, not of the instance."""


class Verdict(StrEnum):
    """What a status says about an object that we sent."""

    ACCEPTED = "accepted"  # the archive has it, perhaps coerced
    LATER = "later"  # temporary, or without a meaning for C-STORE: try again
    REFUSED = "refused"  # the same object will be refused again


_MEANINGS: Final = {
    0x0000: "success",
    0x0001: "warning: optional attributes not supported",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "warning: attribute list error",
    0x0110: "processing failure",
    0x0111: "the archive holds this instance already",
    0x0112: "no such SOP instance",
    0x0115: "invalid argument value",
    0x0116: "warning: attribute value out of range",
    0x0117: "invalid SOP instance UID",
    0x0118: "no such SOP class",
    0x0119: "class and instance conflict",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0x0210: "duplicate invocation",
    0x0211: "unrecognized operation",
    0x0212: "mistyped argument",
    0xB000: "warning: data elements were coerced",
    0xB006: "warning: elements were discarded",
    0xB007: "warning: the data set does not match its SOP class",
}
# Kinds of failure by their first digits; the archive chooses the rest.
_MEANINGS_BY_TWO_DIGITS: Final = {
    0xA7: "out of resources",
    0xA8: "SOP class not supported",
    0xA9: "the data set does not match its SOP class",
}
_MEANINGS_BY_ONE_DIGIT: Final = {
    0xB: "warning",
    0xC: "the archive cannot understand the data set",
}
# Result UIDs are derived from their content's sources, so an instance that is there already is ours.
_ACCEPTED: Final = frozenset({0x0000, 0x0001, 0x0107, 0x0111, 0x0116})
_REFUSED: Final = frozenset(
    {0x0105, 0x0106, 0x0112, 0x0115, 0x0117, 0x0118, 0x0119, 0x0120, 0x0121, 0x0122, 0x0124, 0x0211, 0x0212}
)


def classify(status: int) -> Verdict:
    """Whether the object is there, may be tried again, or is refused for good."""
    if status in _ACCEPTED or status >> 12 == 0xB:
        return Verdict.ACCEPTED
    if status in _REFUSED or status >> 8 in (0xA8, 0xA9) or status >> 12 == 0xC:
        return Verdict.REFUSED
    return Verdict.LATER


def failure(who: str, status: int, words: str | None = None) -> TriageError | None:
    """What an answer means for the object that was sent; None when ``who`` has it. ``words`` instead of `meaning`."""
    said = f"{who} answered {words or meaning(status)}"
    match classify(status):
        case Verdict.ACCEPTED:
            return None
        case Verdict.LATER:
            return DeliveryUnconfirmed(f"{said}; it will be sent again.", status)
        case Verdict.REFUSED:
            return DeliveryRefused(f"{said}; sending it again cannot help.", status)


def meaning(status: int) -> str:
    """The status in words, with its number."""
    words = (
        _MEANINGS.get(status)
        or _MEANINGS_BY_TWO_DIGITS.get(status >> 8)
        or _MEANINGS_BY_ONE_DIGIT.get(status >> 12)
        or "a status without a meaning for C-STORE"
    )
    return f"{words} (0x{status:04X})"
