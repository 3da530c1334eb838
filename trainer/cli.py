"""The ``trainer`` command. torch is imported only by the commands that need it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trainer.datasets.command import prepare_command
from trainer.experiment.command import train_command
from trainer.nets.command import nets_command
from trainer.phantom.command import phantom_command
from trainer.reports.command import compare_command, evaluate_command
from triage.domain.errors import TriageError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """Build, measure and export the models that the daemon loads.

    Example: trainer train --protocol demo --anatomy ct_template OUT
    """


main.add_command(nets_command, name="nets")
main.add_command(phantom_command, name="phantom")
main.add_command(prepare_command, name="prepare")
main.add_command(train_command, name="train")
main.add_command(evaluate_command, name="evaluate")
main.add_command(compare_command, name="compare")


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """Options of every command that makes heads and runs nets."""
    options: list[Callable[[Any], Any]] = [
        click.option("--protocol", default="demo", show_default=True, help="Shipped name, or path of a TOML file."),
        click.option("--anatomy", type=_FOLDER, help="Folder of the CT template; without it all heads are procedural."),
        click.option("--workers", default=2, show_default=True, help="Processes that make heads and run exams."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@click.argument("net", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@_common
def export(net: Path, out: Path, protocol: str, anatomy: Path | None, workers: int) -> None:
    """Write the trained NET (a .pt file) as ONNX to OUT, after comparing torch and ONNX Runtime on made slices.

    Example: trainer export build/demo/nets/munet.pt munet.onnx
    """
    from trainer.build import export_saved

    plan = _checked(_load, protocol)
    exported = _checked(export_saved, net, plan, anatomy, workers)
    out.write_bytes(exported.content)
    click.echo(f"wrote {out}: largest logit difference {exported.parity:.2e}")


def _load(protocol: str) -> Any:
    from trainer.protocol import load_protocol

    return load_protocol(protocol)


def _checked(step: Callable[..., Any], *args: object) -> Any:
    """Run a step; what it raises on purpose becomes one sentence and exit status 1."""
    try:
        return step(*args)
    except (TriageError, ValueError, RuntimeError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
