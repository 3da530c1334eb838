"""What a cache holds, in a few lines."""

from __future__ import annotations

import numpy as np

from trainer.datasets.cache import UNUSABLE, Cache
from trainer.datasets.case import NO, UNKNOWN, YES
from triage.inference.manifest import OUTPUTS


def summary(cache: Cache) -> str:
    """Patients, studies, slices, positives by subtype, masks, what could not be used, and the licence."""
    said, table = cache.description, cache.table[cache.usable]
    known = np.unique(table["patient"][table["patient"] >= 0]).size
    nameless = np.unique(table["study"][table["patient"] < 0]).size
    patients = f"{known} patients" + (f" and {nameless} studies that name no patient" if nameless else "")
    of_studies = table[np.unique(table["study"], return_index=True)[1]]["study_labels"]
    masks = [f"masks drawn for {int(table['drawn'].sum())} slices"]
    if said.lost:
        masks.append(f"of {said.lost} nothing is left at this size, the blood is too thin")
    if said.contradicted:
        masks.append(f"{said.contradicted} outline blood in slices that are labelled free of it")
    lines = [
        f"{said.spec.dataset}: {patients}, {len(of_studies)} studies, {len(table)} slices",
        _counted("slices", table["labels"]),
        _counted("studies", of_studies),
        "; ".join(masks),
        f"{said.unusable} files or rows could not be used: {cache.folder / UNUSABLE}",
        f"licence: {said.licence}",
        f"digest: {said.digest}",
    ]
    return "\n".join(lines)


def _counted(unit: str, labels: np.ndarray) -> str:
    """How many show what; in brackets how many do not, and of how many nobody knows."""
    parts = []
    for column, name in enumerate(OUTPUTS):
        yes, no, unknown = (int((labels[:, column] == value).sum()) for value in (YES, NO, UNKNOWN))
        parts.append(f"{name} {yes} ({no} without, {unknown} unknown)")
    return f"{unit} with blood: " + ", ".join(parts)
