"""``trainer export``: a bundle from a run, or a net of the demonstration as ONNX."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from triage.domain.errors import TriageError

_DATA = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("export")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--data", type=_DATA, help="Runs: the cache that trained it, if it has moved.")
@click.option("--net", help="Runs: which net; the first of the protocol if not given.")
@click.option("--fold", default="best", show_default=True, help="Runs: a number, or best: by its validation.")
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True, help="Runs."
)
@click.option("--sensitivity", default=0.95, show_default=True, help="Runs: that the suspected limit is chosen for.")
@click.option(
    "--scans", type=click.IntRange(2), default=200, show_default=True, help="Runs: validation scans at most, and test."
)
@click.option("--name", default="", help="Runs: what results call the bundle; protocol and net if not given.")
@click.option("--version", "version", default="1", show_default=True, help="Runs: of the bundle.")
@click.option(
    "--demonstration/--no-demonstration",
    default=True,
    show_default=True,
    help="Runs: whether results say DEMONSTRATION; only who validated the bundle at a site turns that off.",
)
@click.option("--pixel-mm", type=float, help="Runs: side of a pixel as the net sees it, where the data do not say it.")
@click.option("--threads", type=click.IntRange(0), default=0, show_default=True, help="Runs: of ONNX Runtime; 0: all.")
@click.option("--protocol", default="demo", show_default=True, help="Nets: the one that made the heads.")
@click.option("--anatomy", type=_DATA, help="Nets: folder of the CT template.")
def export_command(source: Path, out: Path, **given: Any) -> None:
    """Make a bundle that the daemon loads.

    It is made in the folder OUT, from a run that trainer train wrote. Limits and temperatures come from the validation
    scans. A smaller precision is refused when it loses too much. Given a .pt file of trainer train --protocol demo
    instead, write that net as ONNX to the file OUT.

    Example: trainer export runs/ihsnet bundles/ihsnet --sensitivity 0.95
    """
    try:
        if source.is_dir():
            _bundle(source, out, given)
        else:
            _net(source, out, given)
    except (TriageError, ValueError, RuntimeError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc


def _bundle(source: Path, out: Path, given: dict[str, Any]) -> None:
    from trainer.experiment.run_folder import cache_of, load_run

    run = load_run(source)
    cache = cache_of(run, given["data"])
    from trainer.bundles.build import export_run
    from trainer.bundles.making import Asked

    names = ("net", "precision", "sensitivity", "scans", "name", "version", "demonstration", "pixel_mm", "threads")
    asked = Asked(fold=_fold(given["fold"]), **{name: given[name] for name in names})
    now = datetime.now(UTC).replace(microsecond=0)
    bundle = export_run(run, cache, out, asked, now, _tell)
    for remark in bundle.manifest.card.remarks:
        _tell(remark)
    click.echo(f"bundle {bundle.name} {bundle.version}, digest {bundle.digest}: {bundle.path}")


def _fold(text: str) -> int | None:
    if text != "best" and not text.isdecimal():
        raise ValueError(f"--fold is a number from 0, or best, not {text!r}")
    return None if text == "best" else int(text)


def _net(source: Path, out: Path, given: dict[str, Any]) -> None:
    from trainer.demonstration.build import export_saved
    from trainer.demonstration.protocol import load_protocol

    exported = export_saved(source, load_protocol(given["protocol"]), given["anatomy"])
    out.write_bytes(exported.content)
    click.echo(f"wrote {out}: largest logit difference {exported.parity:.2e}")


def _tell(line: str) -> None:
    click.echo(line, err=True)
