"""A paper's tables, cell by cell, beside which a report sets its own figures."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import numpy as np
from pydantic import ConfigDict, TypeAdapter, with_config

from trainer.measures.confusion import ConfusionMatrix
from trainer.measures.paired import Anova, anova_from_moments

_CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)

PAPERS = ("denseunet", "light", "dunet", "liu", "ihsnet")


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class Cell:
    """One printed figure; ``measure``, ``of`` and ``level`` name ours that comes nearest, ``note`` what differs.

    ``part`` is set where the paper says of which part the figure is; else the report takes its test part, if any.
    ``smote`` is set where the paper says that this figure is one with or without it: a run that balanced otherwise has
    none to put beside.
    """

    table: str
    net: str
    measure: str
    value: float
    of: str = "any"
    level: Literal["slice", "scan", "pooled"] = "slice"
    deviation: float | None = None
    note: str = ""
    part: Literal["", "validation", "test"] = ""
    smote: bool | None = None


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class PrintedMatrix:
    """A confusion matrix that the paper prints, or that its printed figures leave no choice about; rows are true."""

    name: str
    classes: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    source: str
    claimed_accuracy: float | None = None

    @property
    def matrix(self) -> ConfusionMatrix:
        """Ready for figures."""
        return ConfusionMatrix(self.classes, np.array(self.rows, dtype=np.int64))


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class PrintedAnova:
    """Means and deviations of a printed ANOVA, and the numbers of values per group that it may have been made of."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    claimed_p: float
    images: int
    batch: int

    def recomputed(self, per_group: int) -> Anova:
        """What the moments give for groups of this size."""
        return anova_from_moments(np.array(self.means), np.array(self.deviations), per_group)


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class Paper:
    """The content of one file of this folder.

    Attributes
    ----------
    contradictions : tuple of str
        Where the paper disagrees with itself or with the data it names, one sentence each.
    """

    key: str
    title: str
    reference: str
    data: str
    cells: tuple[Cell, ...]
    contradictions: tuple[str, ...]
    matrices: tuple[PrintedMatrix, ...] = ()
    anova: PrintedAnova | None = None


_ADAPTER: TypeAdapter[Paper] = TypeAdapter(Paper)


def load_paper(key: str) -> Paper:
    """Read the tables of one paper.

    Raises
    ------
    ValueError
        There is no such paper.
    """
    if key not in PAPERS:
        raise ValueError(f"there are no tables of a paper {key!r}; there are {', '.join(PAPERS)}")
    text = (resources.files("trainer") / "papers" / f"{key}.toml").read_text(encoding="utf-8")
    return _ADAPTER.validate_python(tomllib.loads(text))


def recomputed(paper: Paper) -> list[str]:
    """One sentence for each figure of the paper that follows from others of its own, and does not agree."""
    sentences: list[str] = []
    for printed in paper.matrices:
        accuracy, claimed = printed.matrix.accuracy, printed.claimed_accuracy
        says = "prints none" if claimed is None else f"says {claimed:.2%}"
        sentences.append(
            f"{printed.name} ({printed.source}) gives an accuracy of {accuracy.value:.2%} "
            f"[{accuracy.low:.1%}, {accuracy.high:.1%}], n = {accuracy.n}; the paper {says}."
        )
    if paper.anova is not None:
        batches = -(-paper.anova.images // paper.anova.batch)
        by_image, by_batch = paper.anova.recomputed(paper.anova.images), paper.anova.recomputed(batches)
        sentences.append(
            f"The printed means and deviations give p = {by_image.p:.2f} over {paper.anova.images} images and "
            f"p = {by_batch.p:.2f} over {batches} batches of {paper.anova.batch}; the paper says "
            f"{paper.anova.claimed_p:g}, so its values are batches."
        )
    return sentences
