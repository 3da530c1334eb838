"""``trainer ablate``: which part of the made heads carries over."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from triage.domain.errors import TriageError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("ablate")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--protocol", default="ablation", show_default=True, help="Shipped name, or path of a TOML file.")
@click.option("--anatomy", type=_FOLDER, help="Folder of the CT template; without it all heads are procedural.")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Nets of each variant.")
@click.option("--series", type=_FOLDER, help="Folder of one real series without blood, in DICOM.")
@click.option("--insilico", type=_FOLDER, help="Folder of the InSilicoICH figures with their metadata.json.")
@click.option("--only", multiple=True, help='Only this variant, as "without noise", beside everything. Repeatable.')
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Processes that make heads.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of torch.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Of training.")
def ablate_command(
    out: Path,
    protocol: str,
    anatomy: Path | None,
    seeds: int,
    series: Path | None,
    insilico: Path | None,
    only: tuple[str, ...],
    workers: int,
    threads: int,
    device: str,
) -> None:
    """Train with everything, and with one thing less.

    All are trained from the same seeds and judged on the same exams, into OUT. The nets are trained briefly, on
    SYNTHETIC heads; only their differences say something.

    Prints the differences as a table, and writes it to OUT/table.md. Given again, it goes on where it was stopped.

    Example: trainer ablate runs/ablation --anatomy ct_template --seeds 3
    """
    from trainer.ablation.run import Asked, ablate, runner
    from trainer.demonstration.protocol import load_protocol
    from trainer.demonstration.train import Machine

    asked = Asked(anatomy, seeds, series, insilico, only)
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        plan = load_protocol(protocol)
        run = runner(plan, asked, Machine(workers, threads, device), now, _tell)
        found = ablate(out, plan, asked, run, _tell)
    except (TriageError, ValueError, RuntimeError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(found)


def _tell(line: str) -> None:
    click.echo(line, err=True)
