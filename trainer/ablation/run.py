"""Train every variant on every seed, judge it, keep what it said; what is kept is not run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trainer.ablation.said import Judges, Said, made_exams, said_of
from trainer.ablation.table import table
from trainer.ablation.variants import EVERYTHING, of_seed, variants
from trainer.demonstration.build import exported_nets, manifest_of
from trainer.demonstration.decide import Decision
from trainer.demonstration.protocol import Protocol
from trainer.demonstration.train import Machine, train_nets
from trainer.demonstration.unseen import other_stacks
from trainer.judge.insilico import load_figures
from trainer.real_series import read_series
from trainer.tell import Tell
from triage.inference.bundle import write_bundle
from triage.inference.manifest import Calibration, Thresholds
from triage.inference.predict import Predictor

EXAM_SEEDS = 6_000_000
"""Added to the protocol's seed times 10: no training, calibration or other test shares a head with these exams."""

Run = Callable[[Protocol, Path], Said]

_OPEN = Decision(Thresholds(gate=0.02, suspected=0.03, emergent=0.03), Calibration())
"""Limits nobody decides by: every slice is segmented, and only scores are compared."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to compare on; see the options of the command."""

    anatomy: Path | None = None
    seeds: int = 3
    series: Path | None = None
    insilico: Path | None = None
    only: tuple[str, ...] = ()


def ablate(out: Path, plan: Protocol, asked: Asked, run: Run, tell: Tell) -> str:
    """Run what is missing, seed by seed, and write ``out/table.md``.

    Writes ``out/VARIANT-SEED.json`` for each pair of nets. Stopped and given again, it goes on where it was.

    Parameters
    ----------
    run : callable
        Trains and judges one protocol in a folder, see `runner`.

    Returns
    -------
    str
        The table, as Markdown.

    Raises
    ------
    ValueError
        ``out`` holds answers of another protocol, the protocol is none to start an ablation from, or has fewer than
        two test exams, or a variant is unknown.
    """
    plans = _chosen(variants(plan), asked.only)
    if plan.exams.test_template + plan.exams.test_procedural < 2:
        raise ValueError(f"the protocol {plan.name} needs two test exams, one with blood and one without")
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[int, Said]] = {name: {} for name in plans}
    for number in range(asked.seeds):
        for name, variant in plans.items():
            seeded = of_seed(variant, number)
            path = out / f"{name.replace(' ', '-')}-{seeded.seed}.json"
            if not path.is_file():
                tell(f"{name}, seed {seeded.seed}")
                folder = out / "nets" / path.stem
                _keep(path, seeded, asked, run(seeded, folder))
                (folder / "state.pt").unlink(missing_ok=True)
            found[name][seeded.seed] = _kept(path, seeded, asked)
        (out / "table.md").write_text(table(found), encoding="utf-8")
    return table(found)


def runner(plan: Protocol, asked: Asked, machine: Machine, now: datetime, tell: Tell) -> Run:
    """Train and judge for real; what all variants are judged on is made when the first one is ready to be asked."""
    judges: list[Judges] = []

    def run(variant: Protocol, folder: Path) -> Said:
        train_nets(variant, folder, asked.anatomy, machine, tell)
        # Procedural stacks are enough: they serve the parity check, and nobody is refused here.
        nets = exported_nets(folder / "nets", variant, other_stacks(variant, None), tell)
        bundle = write_bundle(folder / "bundle", manifest_of(variant, nets, _OPEN, now), nets.files)
        if not judges:
            judges.append(_judges(plan, asked, machine.workers, tell))
        return said_of(Predictor.load(bundle.path, "cpu", threads=machine.threads), judges[0])

    return run


def _chosen(plans: dict[str, Protocol], only: tuple[str, ...]) -> dict[str, Protocol]:
    unknown = [name for name in only if name not in plans]
    if unknown:
        raise ValueError(f"there is no variant {unknown[0]!r}: give one of {', '.join(plans)}")
    return {name: plan for name, plan in plans.items() if not only or name in (EVERYTHING, *only)}


def _judges(plan: Protocol, asked: Asked, workers: int, tell: Tell) -> Judges:
    tell("making the exams that all variants are judged on")
    counts = plan.exams.test_template, plan.exams.test_procedural
    return Judges(
        exams=made_exams(*counts, EXAM_SEEDS + plan.seed * 10, asked.anatomy, workers),
        series=None if asked.series is None else read_series(asked.series),
        figures=() if asked.insilico is None else load_figures(asked.insilico),
    )


def _keep(path: Path, plan: Protocol, asked: Asked, said: Said) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"plan": _told(plan, asked), "said": said.as_dict()}) + "\n", encoding="utf-8")
    fresh.replace(path)


def _kept(path: Path, plan: Protocol, asked: Asked) -> Said:
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["plan"] != _told(plan, asked):
        raise ValueError(f"{path} holds answers of another protocol, or to other questions; choose another folder")
    return Said(**content["said"])


def _told(plan: Protocol, asked: Asked) -> str:
    """What the answers depend on, as text; folders by name, since the same data may lie elsewhere."""
    names = tuple(folder.name if folder else None for folder in (asked.anatomy, asked.series, asked.insilico))
    return repr((plan, names))
