"""Plots as SVG text, to stand inside a page; the same input gives the same text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.measures.curves import Curve
from trainer.measures.interval import Numbers

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "trainer",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
_SIDE_INCHES = 3.4
_LINES = ("-", "--", ":", "-.")
"""Nets differ by the kind of line too, not by its colour alone."""


def curves_plot(title: str, axes: tuple[str, str], curves: Mapping[str, Curve], diagonal: bool) -> str:
    """Curves of several nets in a unit square; ``diagonal`` draws what chance or honesty would give."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_SIDE_INCHES, _SIDE_INCHES), layout="constrained")
        plot = figure.subplots()
        if diagonal:
            plot.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        for index, (name, curve) in enumerate(curves.items()):
            plot.plot(
                curve.x, curve.y, _LINES[index % len(_LINES)], label=name, marker="o" if len(curve.x) < 20 else ""
            )
        plot.set(title=title, xlabel=axes[0], ylabel=axes[1], xlim=(0, 1), ylim=(0, 1.02))
        plot.legend(loc="best", fontsize=8)
        return _svg(figure)


def history_plot(title: str, lines: Mapping[tuple[str, str], Sequence[float]], label: str) -> str:
    """Values of (fold, what) epoch by epoch, counted from 1; folds share the kind of line of what they show."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_SIDE_INCHES * 1.5, _SIDE_INCHES), layout="constrained")
        plot = figure.subplots()
        folds, kinds = (list(dict.fromkeys(key[place] for key in lines)) for place in (0, 1))
        for (fold, kind), values in lines.items():
            plot.plot(
                range(1, len(values) + 1),
                values,
                _LINES[kinds.index(kind) % len(_LINES)],
                color=f"C{folds.index(fold) % 10}",
                label=kind.replace("_", " ") if fold == folds[0] else None,
                marker="o" if len(values) < 20 else "",
                markersize=3,
            )
        plot.set(title=title if len(folds) == 1 else f"{title}, {len(folds)} folds", xlabel="epoch", ylabel=label)
        plot.set_xlim(0.5, max(len(values) for values in lines.values()) + 0.5)
        plot.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        plot.legend(loc="best", fontsize=8)
        return _svg(figure)


def scatter_plot(title: str, axes: tuple[str, str], points: Mapping[str, tuple[Numbers, Numbers]]) -> str:
    """True against measured values of several nets, with the line on which both agree."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_SIDE_INCHES, _SIDE_INCHES), layout="constrained")
        plot = figure.subplots()
        highest = max((float(max(x.max(), y.max())) for x, y in points.values() if x.size), default=1.0) or 1.0
        plot.plot([0, highest], [0, highest], color="0.6", linewidth=0.8)
        for marker, (name, (x, y)) in zip("ox^sv+", points.items(), strict=False):
            plot.scatter(x, y, s=12, marker=marker, label=name)
        plot.set(title=title, xlabel=axes[0], ylabel=axes[1])
        plot.legend(loc="best", fontsize=8)
        return _svg(figure)


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
