"""All parts of the judgement, one after the other; only those for which there is something to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer.demonstration.exams import run_same
from trainer.judge.against import against_section, time_section
from trainer.judge.findings import Section
from trainer.judge.held_out import band_section, held_out_section, judged_orders
from trainer.judge.insilico import load_figures
from trainer.judge.insilico_section import insilico_section
from trainer.judge.pasted import LESIONS, pasted_section
from trainer.judge.series import series_section
from trainer.real_series import read_series
from trainer.tell import Tell
from triage.inference.bundle import load_bundle
from triage.inference.predict import Predictor


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be judged, and on what; see the options of the command."""

    bundle: Path
    anatomy: Path | None = None
    held_out: int = 0
    only: str | None = None
    insilico: Path | None = None
    series: Path | None = None
    pasted: int = LESIONS
    against: Path | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        if not (self.held_out or self.insilico or self.series or self.against):
            raise ValueError("nothing to judge on: give --held-out, --insilico, --series or --against")
        if self.held_out == 1:
            raise ValueError("--held-out needs two exams: one with blood and one without")
        if self.only and not self.held_out:
            raise ValueError("--only is about made exams: it needs --held-out")


def judge(asked: Judged, tell: Tell) -> tuple[dict[str, str], list[Section]]:
    """The bundle in three words, and every section that was asked for.

    Raises
    ------
    TriageError, ValueError
        A bundle, a folder or a combination that cannot be judged.
    """
    loaded = load_bundle(asked.bundle)
    if asked.against:
        load_bundle(asked.against)
    said = {"name": loaded.name, "version": loaded.version, "digest": loaded.digest}
    sections = _exam_sections(asked, tell) if asked.held_out else []
    if asked.insilico or asked.series:
        predictor = Predictor.load(asked.bundle, "cpu", threads=max(1, asked.workers))
        sections += _picture_sections(asked, predictor, tell)
    if asked.against:
        tell("timing")
        sections.append(time_section([asked.bundle, asked.against]))
    return said, sections


def _exam_sections(asked: Judged, tell: Tell) -> list[Section]:
    bundles = [asked.bundle, *([asked.against] if asked.against else [])]
    wanted = [judged_orders(asked.held_out, asked.anatomy, asked.only, bundle) for bundle in bundles]
    records, *against = run_same(wanted, asked.workers, tell)
    sections = [held_out_section(records, asked.only), band_section(records)]
    return sections + [
        against_section(records, other, bundle.name) for bundle, other in zip(bundles[1:], against, strict=True)
    ]


def _picture_sections(asked: Judged, predictor: Predictor, tell: Tell) -> list[Section]:
    sections: list[Section] = []
    if asked.insilico:
        tell("looking at figures of InSilicoICH")
        sections.append(insilico_section(predictor, load_figures(asked.insilico)))
    if asked.series:
        tell(f"looking at {asked.series.name} and its copies")
        volume = read_series(asked.series)
        sections.append(series_section(predictor, volume, asked.series.name))
        if asked.pasted:
            tell(f"pasting lesions into {asked.series.name}")
            sections.append(pasted_section(predictor, volume, asked.series.name, asked.pasted))
    return sections
