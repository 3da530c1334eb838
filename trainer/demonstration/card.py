"""The card of a bundle in Markdown: what it is, what it is not, and what was measured."""

from __future__ import annotations

from itertools import pairwise

from trainer.bundles.facts import facts, figure_row, table
from trainer.datasets.labels import SHOWN_FROM_MM2
from trainer.demonstration.evaluate import Measured
from triage.inference.manifest import Manifest, ReferenceScores

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


def _scores(found: ReferenceScores) -> str:
    bins = [f"{low:g} to {high:g}" for low, high in pairwise(found.edges)]
    rows = [(name, f"{100 * share:.1f} %") for name, share in zip(bins, found.proportions, strict=True)]
    return table(("final score", f"share of {found.n} exams"), rows)
