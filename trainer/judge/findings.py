"""What was measured beside what was wanted, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from triage.inference.manifest import Figure

SEED = 70_001
"""Of every bootstrap here."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; ``wanted`` says in words what was asked of it, and ``met`` whether it is so."""

    figure: Figure
    wanted: str = ""
    met: bool | None = None

    def __post_init__(self) -> None:
        if bool(self.wanted) is (self.met is None):
            raise ValueError(f"{self.figure.name!r} needs both what was wanted and whether it is met, or neither")


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that belong together, sentences about them, and the single cases behind them."""

    title: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()
    cases: tuple[Mapping[str, Any], ...] = ()


def at_least(figure: Figure, limit: float) -> Row:
    """A row whose value must reach ``limit``."""
    return Row(figure, f"at least {limit:g}", figure.value >= limit)


def at_most(figure: Figure, limit: float) -> Row:
    """A row whose value must not pass ``limit``."""
    return Row(figure, f"at most {limit:g}", figure.value <= limit)


_NO_PATIENTS = "Made exams, made figures, at most one real head: none of it says how often blood of a patient is found."


def markdown(bundle: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The report as text: what is not met stands first."""
    lines = [f"# {bundle['name']} {bundle['version']}", "", _NO_PATIENTS, "", f"Digest {bundle['digest']}.", ""]
    missed = [row for section in sections for row in section.rows if row.met is False]
    judged = sum(row.met is not None for section in sections for row in section.rows)
    lines += [f"{judged - len(missed)} of {judged} limits are met.", ""]
    lines += [f"- **not met**: {row.figure.name}: {row.figure.value:.3f}, wanted {row.wanted}" for row in missed]
    for section in sections:
        lines += ["", f"## {section.title}", ""]
        if section.rows:
            lines += ["| figure | value [95 %] | n | wanted | met |", "|---|---|---|---|---|"]
            lines += [_line(row) for row in section.rows]
            lines.append("")
        lines += [f"- {remark}" for remark in section.remarks]
        lines += _cases(section.cases)
    return "\n".join(lines) + "\n"


def as_json(bundle: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The report for programs; the same content, and every single case."""
    content = {"bundle": dict(bundle), "sections": [asdict(section) for section in sections]}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _line(row: Row) -> str:
    figure = row.figure
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    value = f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
    return f"| {figure.name} | {value} | {figure.n} {figure.unit} | {row.wanted} | {met} |"


def _cases(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the single cases, for as long as one can read it."""
    if not cases or len(cases) > 40:
        return []
    names = list(cases[0])
    rows = ["| " + " | ".join(_text(case[name]) for name in names) + " |" for case in cases]
    return ["", "| " + " | ".join(names) + " |", "|---" * len(names) + "|", *rows]


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
