"""``trainer train``: an experiment on a prepared cache, or the demonstration bundle from made heads."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from triage.domain.errors import TriageError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("train")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--protocol", default="demo", show_default=True, help="Shipped name, or path of a TOML file.")
@click.option("--workers", default=2, show_default=True, help="Processes that make heads; threads that load slices.")
@click.option("--data", type=_FOLDER, help="Experiments: the cache that trainer prepare wrote.")
@click.option("--net", help="Experiments: only this net of the protocol.")
@click.option("--fold", type=click.IntRange(0), help="Experiments: only this fold.")
@click.option("--epochs", type=click.IntRange(1), help="Experiments: so many epochs, for a try; recorded.")
@click.option("--steps", type=click.IntRange(1), help="Experiments: so many steps an epoch, for a try; recorded.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Of the nets.")
@click.option("--threads", type=click.IntRange(1), help="Of torch; if not given, 1 for demo and as torch chooses else.")
@click.option("--anatomy", type=_FOLDER, help="Demo: folder of the CT template; without it all heads are procedural.")
@click.option(
    "--quiet",
    type=_FOLDER,
    multiple=True,
    help="Demo: folder of a real series without blood: limits are raised until it and copies of it stay below. "
    "Repeatable.",
)
@click.option(
    "--begin-from",
    type=_FOLDER,
    help="Demo: folder of the bundle that the protocol begins from, in single precision; its nets are taught further.",
)
def train_command(out: Path, protocol: str, data: Path | None, **given: Any) -> None:
    """Train what a protocol says, into OUT.

    Given again, it goes on where it was stopped. An experiment trains its nets on the cache of --data. The protocol
    "demo", and every one of its kind, makes SYNTHETIC heads, trains both nets of a demonstration bundle, sets the
    limits, measures, and writes OUT/nets and OUT/bundle; where the protocol says so, also OUT/bundle-int8, and with
    --anatomy OUT/bundle-template: what was learned from the template alone, measured on procedural heads.

    Several GPUs, for experiments: torchrun --nproc-per-node 2 -m trainer train ...

    Example: trainer train runs/ihsnet --protocol ihsnet --data caches/physionet
    """
    try:
        if is_experiment(protocol):
            _experiment(out, protocol, data, given)
        else:
            if data is not None:
                raise ValueError(f"the protocol {protocol} makes its own heads and takes no --data")
            _demonstration(out, protocol, given)
    except (TriageError, ValueError, RuntimeError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc


def is_experiment(name_or_path: str) -> bool:
    """Whether a protocol names nets to compare; the other kind makes the heads that it trains on.

    Raises
    ------
    ValueError
        It is none of both.
    """
    from trainer.experiment.protocol import shipped_experiments
    from trainer.protocol_files import shipped_protocols

    if name_or_path in shipped_protocols("protocols"):
        return False
    path, shipped = Path(name_or_path), shipped_experiments()
    if name_or_path in shipped:
        return True
    if not path.is_file():
        known = ", ".join(["demo", *shipped])
        raise ValueError(f"there is no protocol {name_or_path!r}: give one of {known}, or the path of a TOML file")
    try:
        return "munet" not in tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ValueError(f"the protocol {name_or_path} is no TOML: {exc}") from exc


def _experiment(out: Path, protocol: str, data: Path | None, given: dict[str, Any]) -> None:
    from trainer.experiment.protocol import load_experiment

    plan = load_experiment(protocol)
    if data is None:
        raise ValueError(f"the experiment {plan.name} needs --data, a cache that trainer prepare wrote")
    import torch

    from trainer.datasets.cache import open_cache
    from trainer.experiment.fold_training import Machine
    from trainer.experiment.ranks import joined_ranks
    from trainer.experiment.run import Options, run_experiment

    cache = open_cache(data)
    if given["threads"] is not None:
        torch.set_num_threads(given["threads"])
    with joined_ranks(given["device"]) as (ranks, device):
        options = Options(
            Machine(device, given["workers"], ranks=ranks),
            **{name: given[name] for name in ("net", "fold", "epochs", "steps")},
        )
        if ranks.first:
            for remark in plan.remarks:
                _tell(f"{plan.name}: {remark}")
        run = run_experiment(out, plan, cache, options, datetime.now(UTC).isoformat(timespec="seconds"), _tell)
        if ranks.first:
            folds = len(run.split().folds)
            for net in run.nets:
                click.echo(f"{net}: {len(run.finished_folds(net))} of {folds} folds done")
            click.echo(f"{run.folder}: run trainer evaluate for figures and the locked test part")


def _demonstration(out: Path, protocol: str, given: dict[str, Any]) -> None:
    from trainer.demonstration.build import build_bundles
    from trainer.demonstration.protocol import load_protocol
    from trainer.demonstration.train import Machine

    now = datetime.now(UTC).replace(microsecond=0)
    plan = load_protocol(protocol)
    machine = Machine(given["workers"], given["threads"] or 1, given["device"])
    for bundle in build_bundles(plan, out, given["anatomy"], machine, given["quiet"], now, _tell, given["begin_from"]):
        click.echo(f"bundle {bundle.name} {bundle.version}, digest {bundle.digest}: {bundle.path}")


def _tell(line: str) -> None:
    click.echo(line, err=True)
