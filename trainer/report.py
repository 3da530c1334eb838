"""The card of a bundle in Markdown: what it is, what it is not, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from trainer.data import SHOWN_FROM_MM2
from trainer.evaluate import Measured
from triage.inference.manifest import Figure, Manifest, ModelCard, ReferenceScores

_WARNING = """**SYNTHETIC. DEMONSTRATION ONLY.** Both nets were trained on made heads and on nothing else. No figure
below says anything about sensitivity or specificity in patients; on real scans expect false alarms and misses. The
bundle lets the daemon be installed, tested and shown. It must not take part in care. It never alters an image and
never replaces reading."""

_PREVALENCE = """The limits and the calibration were set on other made exams, half of them with blood. In a waiting room
where one head in ten bleeds, the same score means less."""

_COUNTING = f"""Dice pooled counts all voxels of all exams together, so false outlines in exams without blood count
against it; Dice per exam leaves out the exams that do not hold the subtype. A slice shows a subtype from
{SHOWN_FROM_MM2} mm2 on."""

_FAR_FROM_PATIENTS = """These are the scores of the made exams above, half of them with blood. The statistics page shows
a site's own scores beside them. Patients are expected to differ from made heads, so no alarm is raised on that."""


def card_text(manifest: Manifest, measured: Measured) -> str:
    """The card of a bundle in Markdown; figures and remarks are those of ``measured``, not of the manifest."""
    parts = [
        f"# {manifest.name} {manifest.version}",
        _WARNING,
        "## What it is",
        table(("", ""), facts(manifest)),
        _PREVALENCE,
        "## Held-out made exams",
        f"{measured.held_out}.",
        table(("figure", "value [95 % interval]", "n", "interval"), [figure_row(f) for f in measured.figures]),
        _COUNTING,
    ]
    if measured.reference is not None:
        parts += ["## Scores to compare with", _scores(measured.reference), _FAR_FROM_PATIENTS]
    if measured.remarks:
        parts += ["## Seen besides", "\n".join(f"- {remark}" for remark in measured.remarks)]
        parts.append("Real series carry no labels; that no blood is visible on them is a layman's reading.")
    return "\n\n".join(parts) + "\n"


def facts(manifest: Manifest) -> list[tuple[str, str]]:
    """What a bundle is, a name and a value each."""
    limits, scoring, raster = manifest.thresholds, manifest.scoring, manifest.preprocessing
    origin = manifest.provenance
    windows = ", ".join(f"{center:g}/{width:g}" for center, width in raster.windows)
    evidence = f"mean of the {scoring.top_k} highest slices after smoothing over neighbours"
    return [
        ("intended input", manifest.intended_input),
        ("training data", origin.training_data),
        ("protocol, seed", f"{origin.protocol}, {origin.seed}"),
        ("software", ", ".join(f"{name} {version}" for name, version in sorted(origin.software.items()))),
        ("slice classifier", _net(manifest.slice_classifier)),
        ("segmentation net", _net(manifest.munet)),
        ("net input", f"{raster.size} x {raster.size} at {raster.pixel_mm:g} mm, windows {windows}"),
        ("gate", f"a slice at {limits.gate:.3f} or more is segmented, with its neighbours"),
        ("exam evidence", f"{evidence}; of each slice the {scoring.evidence_mm2:g} mm2 that look most like blood"),
        ("limits", f"suspected at {limits.suspected:.3f}, emergent at {limits.emergent:.3f}"),
    ]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def figure_row(figure: Figure) -> tuple[str, str, str, str]:
    """Name, value with its interval, cases and how the interval was made."""
    value = f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
    return figure.name, value, f"{figure.n} {figure.unit}", figure.method


def _scores(found: ReferenceScores) -> str:
    bins = [f"{low:g} to {high:g}" for low, high in pairwise(found.edges)]
    rows = [(name, f"{100 * share:.1f} %") for name, share in zip(bins, found.proportions, strict=True)]
    return table(("final score", f"share of {found.n} exams"), rows)


def _net(card: ModelCard) -> str:
    parity = "" if card.parity is None else f", largest logit difference to ONNX Runtime {card.parity:.1e}"
    return f"{card.architecture}, {card.parameters:,} parameters{parity}"
