"""Contenders measured side by side: only ratios within one run count, for a shared machine drifts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Figures = Mapping[str, float]
"""What one run of one contender measured: name of the figure -> value, its unit in the name."""


@dataclass(frozen=True)
class Contender:
    """Something that can be measured once; ``run`` does all its own setting up and clearing away."""

    name: str
    run: Callable[[], Figures]


@dataclass(frozen=True)
class Comparison:
    """All runs of all contenders, round by round."""

    rounds: Sequence[Mapping[str, Figures]]

    def median(self, contender: str, figure: str) -> float:
        """Median over the rounds."""
        return statistics.median(r[contender][figure] for r in self.rounds)

    def ratio(self, contender: str, against: str, figure: str) -> tuple[float, float, float]:
        """Median, lowest and highest of the ratios that were taken within a round."""
        ratios = [r[contender][figure] / r[against][figure] for r in self.rounds]
        return statistics.median(ratios), min(ratios), max(ratios)


def side_by_side(contenders: Sequence[Contender], rounds: int, tell: Callable[[str], None]) -> Comparison:
    """Run every contender in every round, each round beginning with another one."""
    taken: list[dict[str, Figures]] = []
    for number in range(rounds):
        turn = number % len(contenders)
        figures: dict[str, Figures] = {}
        for contender in [*contenders[turn:], *contenders[:turn]]:
            tell(f"round {number + 1}/{rounds}: {contender.name}")
            figures[contender.name] = contender.run()
        taken.append(figures)
    return Comparison(taken)


@dataclass(frozen=True)
class Aim:
    """A ratio to reach: at least ``at_least`` times the figure of ``against``."""

    contender: str
    against: str
    figure: str
    at_least: float

    def verdict(self, comparison: Comparison) -> str:
        """One line that says what was reached."""
        middle, low, high = comparison.ratio(self.contender, self.against, self.figure)
        mark = "reached" if middle >= self.at_least else "MISSED"
        return (
            f"{mark}: {self.figure} of {self.contender} is {middle:.2f} x {self.against} "
            f"({low:.2f} to {high:.2f}); aim {self.at_least:g} x"
        )


@dataclass(frozen=True)
class Limit:
    """A figure that must not be exceeded, whatever the peers do."""

    contender: str
    figure: str
    at_most: float

    def verdict(self, comparison: Comparison) -> str:
        """One line that says what was reached."""
        middle = comparison.median(self.contender, self.figure)
        mark = "reached" if middle <= self.at_most else "MISSED"
        return f"{mark}: {self.figure} of {self.contender} is {middle:.2f}; limit {self.at_most:g}"


def table(comparison: Comparison, against: str | None) -> list[list[str]]:
    """Header and rows of text: each figure of each contender, with its ratio to ``against`` if there is a peer."""
    first = comparison.rounds[0]
    figures = list(next(iter(first.values())))
    rows = [["", *(column for figure in figures for column in (figure, *([f"x {against}"] if against else [])))]]
    for name in first:
        cells = [name]
        for figure in figures:
            cells.append(f"{comparison.median(name, figure):.2f}")
            if against:
                cells.append(f"{comparison.ratio(name, against, figure)[0]:.2f}")
        rows.append(cells)
    return rows
