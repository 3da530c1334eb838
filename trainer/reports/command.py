"""``trainer evaluate`` and ``trainer compare``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from triage.domain.errors import TriageError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_RUN, _BUNDLE = "run.json", "bundle.json"
"""What tells a run folder from a bundle; written here again, because their owners are slow to import."""

_OF_RUNS = ("data", "external")
_OF_BUNDLES = ("protocol", "anatomy", "unlabelled", "card")


@click.command("evaluate")
@click.argument("folder", metavar="RUN|BUNDLE", type=_FOLDER)
@click.option("--data", type=_FOLDER, help="Run: the cache that trained it, if it has moved.")
@click.option("--external", multiple=True, metavar="NAME=CACHE", help="Run: a data set that trained none. Repeatable.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Run.")
@click.option("--threads", type=click.IntRange(1), help="Run: threads of torch; as torch chooses if not given.")
@click.option("--protocol", help="Bundle: shipped name, or path of a TOML file; demo if not given.")
@click.option("--anatomy", type=_FOLDER, help="Bundle: folder of the CT template; without it all heads are procedural.")
@click.option("--workers", default=2, show_default=True, help="Run: threads that load slices. Bundle: processes.")
@click.option(
    "--unlabelled",
    type=_FOLDER,
    multiple=True,
    help="Bundle: folder of one real series to be shown apart on the card, without claims. Repeatable.",
)
@click.option("--card", type=click.Path(dir_okay=False, path_type=Path), help="Bundle: also write the card here.")
def evaluate_command(folder: Path, **given: Any) -> None:
    """Measure a RUN of trainer train, or a BUNDLE.

    A run: its nets are asked once about the locked test part, and about every --external set; report.html and
    report.json are written into its folder. A bundle: it is run, as the daemon would, over the protocol's held-out
    made exams, and its card is printed.

    Example: trainer evaluate runs/ihsnet-honest --external bhsd=caches/bhsd
    """
    try:
        if (folder / _RUN).is_file():
            _refuse(given, _OF_BUNDLES, "a bundle", f"{folder} is a run")
            _evaluate_run(folder, given)
        else:
            if not (folder / _BUNDLE).is_file():
                raise ValueError(f"{folder} is neither a run nor a bundle: it has no {_RUN} and no {_BUNDLE}")
            _refuse(given, _OF_RUNS, "a run", f"{folder} is a bundle")
            _evaluate_bundle(folder, given)
    except (TriageError, ValueError, RuntimeError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=_FOLDER, metavar="RUN...")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def compare_command(runs: tuple[Path, ...], out: Path) -> None:
    """Put RUNs side by side in one report.

    It is written into the folder OUT. The command asks no net: give each run to trainer evaluate before. Nets of
    different runs are compared slice by slice where they saw the same slices of the same cache; where they did not, the
    report says why not.

    Example: trainer compare runs/ihsnet runs/ihsnet-honest reports/ihsnet
    """
    from trainer.experiment.run_folder import load_run
    from trainer.reports.page import write_report
    from trainer.reports.result import experiment_result

    try:
        if len(runs) < 2:
            raise ValueError("trainer compare takes two runs or more, and then the folder of the report")
        if (out / _RUN).is_file():
            raise ValueError(f"{out} is a run and keeps its own report: end with another folder for this one")
        page = write_report(out, [experiment_result(load_run(run)) for run in runs])
    except (TriageError, ValueError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(str(page))


def _evaluate_run(folder: Path, given: dict[str, Any]) -> None:
    from trainer.datasets.cache import Cache, open_cache
    from trainer.experiment.run_folder import cache_of, load_run

    run = load_run(folder)
    cache = cache_of(run, given["data"])
    externals: dict[str, Cache] = {}
    for name, path in map(_named, given["external"]):
        if name in externals:
            raise ValueError(f"--external names {name} twice")
        externals[name] = open_cache(path)
    import torch

    from trainer.experiment.fold_training import Machine
    from trainer.reports.evaluate import evaluate_run

    if given["threads"] is not None:
        torch.set_num_threads(given["threads"])
    if given["device"] == "cuda" and not torch.cuda.is_available():
        raise ValueError("there is no GPU that torch can use; leave out --device cuda")
    machine = Machine(torch.device(given["device"]), given["workers"])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    click.echo(str(evaluate_run(run, cache, externals, machine, now, _tell)))


def _evaluate_bundle(folder: Path, given: dict[str, Any]) -> None:
    from trainer.demonstration.card import card_text
    from trainer.demonstration.evaluate import held_out_orders, measured
    from trainer.demonstration.exams import run_exams
    from trainer.demonstration.protocol import load_protocol
    from triage.inference.bundle import load_bundle

    plan = load_protocol(given["protocol"] or "demo")
    loaded = load_bundle(folder)
    records = run_exams(held_out_orders(loaded, plan, given["anatomy"]), given["workers"], _tell)
    text = card_text(loaded.manifest, measured(loaded, records, plan, given["unlabelled"]))
    if given["card"] is not None:
        given["card"].write_text(text, encoding="utf-8")
    click.echo(text)


def _named(text: str) -> tuple[str, Path]:
    """``NAME=CACHE``; the name becomes part of a file name and of the report."""
    name, sign, path = text.partition("=")
    if not sign or not path or not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"--external takes NAME=CACHE, a name of letters, digits, - and _, not {text!r}")
    if name in ("test", "validation"):
        raise ValueError(f"an external set cannot be called {name}: the run has a part of that name")
    return name, Path(path)


def _refuse(given: dict[str, Any], options: tuple[str, ...], whose: str, why: str) -> None:
    for option in options:
        if given[option]:
            raise ValueError(f"--{option} is an option for {whose}, and {why}")


def _tell(line: str) -> None:
    click.echo(line, err=True)
