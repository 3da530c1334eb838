"""A report as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from trainer.explain.drawing import LEGEND
from trainer.measures.measure import Measure
from trainer.measures.scans import scans_of
from trainer.reports.compare import across, labels_of
from trainer.reports.content import Across, ExperimentResult, plain
from trainer.reports.judge import CURVES, TEST, Judged, as_json, curves, judge
from trainer.reports.plots import curves_plot, history_plot, scatter_plot

REPORT_HTML, REPORT_JSON = "report.html", "report.json"

_LEVELS = ("slice", "scan", "pooled")


def write_report(folder: Path, results: Sequence[ExperimentResult]) -> Path:
    """Judge one experiment, or several side by side, and write ``report.html`` and ``report.json``.

    Returns
    -------
    Path
        The page.
    """
    judged, together = [judge(result) for result in results], across(results)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "experiments": [as_json(each) for each in judged],
        "across": plain(asdict(together)) if together else None,
    }
    (folder / REPORT_JSON).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    page = folder / REPORT_HTML
    page.write_text(page_text(judged, together), encoding="utf-8")
    return page


def page_text(judged: Sequence[Judged], together: Across | None = None) -> str:
    """The page of one experiment or several."""
    source = (resources.files("trainer") / "reports" / "templates" / "report.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"figure": _figure, "chance": _chance, "cases": _cases}
    environment.filters["picture"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    template = environment.from_string(source)
    labels = labels_of([each.result for each in judged])
    return template.render(
        title=" beside ".join(dict.fromkeys(each.result.protocol.title for each in judged)),
        across=together,
        outlines=LEGEND,
        experiments=[
            {
                "label": label,
                "judged": each,
                "plots": _plots(each),
                "tables": _tables(each),
                "checkpoints": _checkpoints(each),
            }
            for label, each in zip(labels, judged, strict=True)
        ],
    )


def _figure(value: float | None) -> str:
    """Three decimals for shares, three significant digits beyond; a dash for what is not known."""
    if value is None or value != value:
        return "–"
    if abs(value) < 0.0005:
        return "0.000"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _chance(p: float) -> str:
    """A p-value with its sign; none is 0."""
    return "–" if p != p else "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _cases(measure: Measure) -> str:
    """How many independent cases stand behind a figure."""
    return f"{measure.n} {measure.unit.removesuffix('s') if measure.n == 1 else measure.unit}"


def _plots(judged: Judged) -> list[Any]:
    """SVG of every curve, loss and volume; safe, because it is our own drawing."""
    drawn: list[str] = []
    for part in _parts(judged):
        for name, (axes, make, diagonal) in CURVES.items():
            lines = curves(judged, part, make)
            if lines:
                drawn.append(curves_plot(f"{name}\nany blood, {part}", axes, lines, diagonal))
        points = {}
        for net in judged.result.nets:
            if part in net.parts:
                scans = scans_of(net.parts[part])
                known = scans.drawn & ~np.isnan(scans.true_ml[:, 0])
                if known.any():
                    points[net.name] = (scans.true_ml[known, 0], scans.marked_ml[known, 0])
        if points:
            drawn.append(scatter_plot(f"volume per scan, {part}", ("true ml", "outlined ml"), points))
    for net in judged.result.nets:
        lines_of = {
            (fold, key): [epoch[key] for epoch in epochs]
            for fold, epochs in net.history.items()
            for key in ("loss", "validation_loss")
            if epochs and all(key in epoch for epoch in epochs)
        }
        if lines_of:
            drawn.append(history_plot(f"loss of {net.name}", lines_of, "loss"))
    return [Markup(svg) for svg in drawn]  # noqa: S704 - our own drawing, with matplotlib's escaping


def _parts(judged: Judged) -> list[str]:
    names = dict.fromkeys(part for net in judged.result.nets for part in net.parts)
    return sorted(names, key=lambda part: (part != TEST, part))


def _tables(judged: Judged) -> list[dict[str, Any]]:
    """One table per part and level: measures and classes down, nets across."""
    tables: list[dict[str, Any]] = []
    nets = [net.name for net in judged.result.nets]
    for part in _parts(judged):
        for level in _LEVELS:
            rows: dict[tuple[str, str], dict[str, Measure]] = {}
            for net in nets:
                for measure in judged.measures.get((net, part), ()):
                    if measure.level == level:
                        rows.setdefault((measure.name, measure.of), {})[net] = measure
            if rows:
                tables.append({"part": part, "level": level, "nets": nets, "rows": rows})
    return tables


def _checkpoints(judged: Judged) -> dict[str, tuple[list[str], dict[int, dict[str, Measure]]]]:
    """Per net the names of what was measured, and epoch by epoch the measures by name."""
    tables: dict[str, tuple[list[str], dict[int, dict[str, Measure]]]] = {}
    for net, epochs in judged.checkpoints.items():
        rows = {epoch: {measure.name: measure for measure in found} for epoch, found in epochs.items()}
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        if names:
            tables[net] = (names, rows)
    return tables
