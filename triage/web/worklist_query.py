"""What the address of the worklist asks for, and addresses that ask for something else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from triage.domain.finding import Urgency, WorklistStatus
from triage.domain.reading import Verdict
from triage.store.reading_list import Place, ToRead, Wanted

LONGEST_SEARCH: Final = 64
OPENED_STAYS: Final = timedelta(minutes=30)
"""So long a study that was opened stays among those to be read: whoever opened it may want to go back."""

E = TypeVar("E", bound=StrEnum)


class Span(StrEnum):
    """Which studies the list is about."""

    TO_READ = "to_read"
    DAY = "day"
    WEEK = "week"
    ALL = "all"


SPANS: Final[Mapping[Span, str]] = {
    Span.TO_READ: "To read",
    Span.DAY: "Last 24 hours",
    Span.WEEK: "Last 7 days",
    Span.ALL: "All",
}

_DAYS: Final = {Span.TO_READ: 1, Span.DAY: 1, Span.WEEK: 7}
_YES_OR_NO: Final = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Asked:
    """The query of the worklist's address. What it cannot mean is left out: that shows more studies, never fewer."""

    span: Span = Span.TO_READ
    statuses: frozenset[WorklistStatus] = frozenset()
    urgency: Urgency | None = None
    provisional: bool | None = None
    opened: bool | None = None
    verdict: Verdict | None = None
    text: str = ""
    place: Place | None = field(default=None)

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """Read the query of an address."""
        text = query.get("q", "").strip()[:LONGEST_SEARCH]
        # A study that is looked for by its number is wanted however old it is.
        span = _member(Span, query.get("show")) or (Span.ALL if text else Span.TO_READ)
        return cls(
            span=span,
            statuses=frozenset(_members(WorklistStatus, query.getlist("status"))),
            urgency=_member(Urgency, query.get("urgency")),
            provisional=_YES_OR_NO.get(query.get("provisional", "")),
            opened=_YES_OR_NO.get(query.get("opened", "")),
            verdict=_member(Verdict, query.get("verdict")),
            text=text,
            place=_place(query.get("page", "")),
        )

    @property
    def narrowed(self) -> bool:
        """Whether more is asked for than a span and a status."""
        chosen = (self.urgency, self.provisional, self.opened, self.verdict)
        return any(value is not None for value in chosen)

    def wanted(self, now: datetime) -> Wanted:
        """The same for the store."""
        since = now - timedelta(days=_DAYS[self.span]) if self.span in _DAYS else None
        to_read = self.span is Span.TO_READ and since is not None
        return Wanted(
            statuses=self.statuses,
            urgency=self.urgency,
            provisional=self.provisional,
            opened=self.opened,
            verdict=self.verdict,
            text=self.text,
            to_read=ToRead(since, now - OPENED_STAYS) if to_read and since is not None else None,
            received_since=None if to_read else since,
        )

    def query(self, **changes: Any) -> str:
        """The query that asks for this, or for this with something changed; of its first page if anything is."""
        if changes and "place" not in changes:
            changes["place"] = None
        asked = replace(self, **changes)
        default = Span.ALL if asked.text else Span.TO_READ
        pairs: list[tuple[str, str]] = [("show", asked.span.value)] if asked.span is not default else []
        pairs += [("status", status.value) for status in WorklistStatus if status in asked.statuses]
        pairs += [
            (name, value.value) for name, value in (("urgency", asked.urgency), ("verdict", asked.verdict)) if value
        ]
        for name, answer in (("provisional", asked.provisional), ("opened", asked.opened)):
            pairs += [(name, "yes" if answer else "no")] if answer is not None else []
        pairs += [("q", asked.text)] if asked.text else []
        pairs += [("page", str(asked.place))] if asked.place is not None else []
        return urlencode(pairs)


def _member(members: type[E], text: str | None) -> E | None:
    return next((member for member in members if member.value == text), None)


def _members(members: type[E], texts: Iterable[str]) -> list[E]:
    return [member for text in texts if (member := _member(members, text)) is not None]


def _place(token: str) -> Place | None:
    try:
        return Place.parse(token) if token else None
    except ValueError:
        return None
