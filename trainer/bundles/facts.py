"""What every card of a bundle shows, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from triage.inference.manifest import Figure, Manifest, ModelCard

_SHOWN = {"slice": "single slices", "neighbours": "slices between their neighbours", "scan": "whole scans"}


def facts(manifest: Manifest) -> list[tuple[str, str]]:
    """What a bundle is, a name and a value each."""
    limits, scoring, raster = manifest.thresholds, manifest.scoring, manifest.preprocessing
    origin = manifest.provenance
    windows = ", ".join(f"{center:g}/{width:g}" for center, width in raster.windows)
    evened = "; brain that bone has brightened is evened" if raster.even_brain else ""
    evidence = f"mean of the {scoring.top_k} highest slices after smoothing {scoring.means} over neighbours"
    return [
        ("intended input", manifest.intended_input),
        ("training data", origin.training_data),
        ("protocol, seed", f"{origin.protocol}, {origin.seed}"),
        ("software", ", ".join(f"{name} {version}" for name, version in sorted(origin.software.items()))),
        ("slice classifier", _net(manifest.slice_classifier)),
        ("segmentation net", _net(manifest.munet)),
        ("net input", f"{raster.size} x {raster.size} at {raster.pixel_mm:g} mm, windows {windows}{evened}"),
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


def _net(card: ModelCard) -> str:
    parity = "" if card.parity is None else f", largest logit difference to ONNX Runtime {card.parity:.1e}"
    return f"{card.architecture}, {card.parameters:,} parameters, shown {_SHOWN[card.reads]}{parity}"
