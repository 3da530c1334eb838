"""The card of a bundle as people are told it: first what cannot be claimed, then what it learned from, then figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from triage.inference.manifest import Card, Figure, Manifest, Training

_WHOLE: Final = frozenset(
    f"{level} {name}" for level in ("exam", "scan") for name in ("AUC", "sensitivity", "specificity")
)
"""Figures of whole examinations, all of them, under the names that the two makers of bundles give them."""

_MADE: Final = (
    "It learned from SYNTHETIC heads alone and was measured on no patient: no figure below says how often it is right "
    "about patients. On real scans expect false alarms and misses."
)
_MARKED: Final = "It is marked for demonstration and must not take part in care: nobody has vouched for it on patients."
_UNMEASURED: Final = "Nothing was measured that its card tells: nothing at all can be claimed for it."
_ELSEWHERE: Final = (
    "A figure holds for the examinations that it was measured on. At another site, on another scanner and where blood "
    "is rarer, the same score means something else."
)
_NOTHING_EXCLUDED: Final = "Not suspected never excludes a haemorrhage."

_TRAINING: TypeAdapter[Training] = TypeAdapter(Training)
_CARD: TypeAdapter[Card] = TypeAdapter(Card)


@dataclass(frozen=True, slots=True)
class BundleCard:
    """What is known of a bundle besides its weights: what goes in, where they come from, and what was measured."""

    intended_input: str
    training: Training
    card: Card

    @property
    def not_claimed(self) -> tuple[str, ...]:
        """What nobody may conclude, for it stands before every figure."""
        return (
            *((_MADE,) if self.training.synthetic else ()),
            *((_MARKED,) if self.training.demonstration else ()),
            *((_UNMEASURED,) if not self.card.figures else ()),
            _ELSEWHERE,
            _NOTHING_EXCLUDED,
        )

    @property
    def whole(self) -> tuple[Figure, ...]:
        """The figures of whole examinations, without those of parts, slices and outlines."""
        return tuple(figure for figure in self.card.figures if figure.name in _WHOLE)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was learned from and what was measured, for a report: data, then figures with n and interval."""
        learned = f"Learned from: {_clause(self.training.training_data)}."
        if not self.card.figures:
            return (learned, "Nothing was measured that the card of the model tells.")
        measured = f"Measured on: {_clause(self.card.held_out)}. Nothing is claimed for other examinations."
        told = "; ".join(told_of(figure) for figure in self.whole)
        return (learned, measured, *((f"With 95 % intervals: {told}.",) if told else ()))


def told_of(figure: Figure) -> str:
    """One figure with its interval and the cases that it was measured on."""
    return f"{figure.name} {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}], n = {figure.n} {figure.unit}"


def card_of(manifest: Manifest) -> BundleCard:
    """The card of a bundle that was loaded."""
    return BundleCard(manifest.intended_input, manifest.provenance, manifest.card)


def card_on_record(manifest: Mapping[str, Any]) -> BundleCard | None:
    """The card of a manifest that was put on record, by this release or another; None where it cannot be read."""
    try:
        training = _TRAINING.validate_json(json.dumps(manifest.get("provenance")))
        card = _CARD.validate_json(json.dumps(manifest.get("card")))
    except ValidationError:
        return None  # a later release may say it in another way
    return BundleCard(str(manifest.get("intended_input", "")), training, card)


def _clause(text: str) -> str:
    """A text without its last stop, to go on from."""
    return text.strip().rstrip(".")
