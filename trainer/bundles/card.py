"""The card of a bundle that was made from a run, in Markdown for people."""

from __future__ import annotations

from trainer.bundles.facts import facts, figure_row, table
from triage.dicom.codes import INTRACRANIAL_HEMORRHAGE, SUBTYPE_CODES
from triage.domain.finding import SUBTYPES, Subtype
from triage.inference.manifest import Manifest

_SYNTHETIC = """**SYNTHETIC. DEMONSTRATION ONLY.** The nets were trained on made heads and on nothing else. No figure
below says anything about sensitivity or specificity in patients. The bundle must not take part in care."""

_RESEARCH = """**NOT FOR CARE.** The nets were trained on the data set below, and no clinical study stands behind them.
Its licence may forbid any use but research. The figures hold for scans of that data set and for no other site: measure
the bundle on your own scans before anybody looks at what it says. It never alters an image and never replaces
reading."""

_CASE_MIX = """Blood is commoner in a data set than in a waiting room: there the same score means less. The bundle
carries no scores to compare a site's with, for that reason; the statistics page compares with the first studies that
it analyses at the site."""

_COUNTING = """AUC, sensitivity and specificity of scans are those of the final score as the daemon makes it, at the
limit of the bundle. Dice counts slices of which somebody drew a mask."""

NO_TYPES = "The net was taught blood and not its type: results speak of hemorrhage of unspecified type."
NO_OUTLINES = "The net gives labels alone: nothing is outlined, and no volume is measured."


def export_card(manifest: Manifest) -> str:
    """Write the card."""
    parts = [
        f"# {manifest.name} {manifest.version}",
        _SYNTHETIC if manifest.provenance.synthetic else _RESEARCH,
        "## What it is",
        table(("", ""), facts(manifest)),
        "## What it tells apart",
        table(("output", "reported as", "code"), labels_of(manifest)),
        "## What was measured",
        f"{manifest.card.held_out}",
        table(("figure", "value [95 % interval]", "n", "interval"), [figure_row(f) for f in manifest.card.figures]),
        _COUNTING,
        _CASE_MIX,
        "## To know",
        "\n".join(f"- {remark}" for remark in manifest.card.remarks),
    ]
    return "\n\n".join(parts) + "\n"


def labels_of(manifest: Manifest) -> list[tuple[str, str, str]]:
    """Output, meaning and code of everything that results can name."""
    finding = INTRACRANIAL_HEMORRHAGE
    kinds = SUBTYPES if manifest.names_subtypes else (Subtype.ICH,)
    named = [(kind, SUBTYPE_CODES[kind]) for kind in kinds]
    return [
        ("any", finding.meaning, f"{finding.value}, {finding.scheme}"),
        *((kind.value, one.subtype.meaning, f"{one.subtype.value}, {one.subtype.scheme}") for kind, one in named),
    ]
