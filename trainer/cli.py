"""The ``trainer`` command. torch is imported only by the commands that need it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trainer.bundles.command import export_command
from trainer.datasets.command import prepare_command
from trainer.experiment.command import train_command
from trainer.nets.command import nets_command
from trainer.phantom.command import phantom_command
from triage.domain.errors import TriageError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """Build, measure and export the models that the daemon loads.

    Example: trainer train --protocol demo --anatomy ct_template OUT
    """


main.add_command(export_command, name="export")
main.add_command(nets_command, name="nets")
main.add_command(phantom_command, name="phantom")
main.add_command(prepare_command, name="prepare")
main.add_command(train_command, name="train")


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


_unlabelled = click.option(
    "--unlabelled",
    type=_FOLDER,
    multiple=True,
    help="Folder of one real series to be shown apart on the card, without claims. Repeatable.",
)


@main.command()
@click.argument("bundle", type=_FOLDER)
@_common
@_unlabelled
@click.option("--card", type=click.Path(dir_okay=False, path_type=Path), help="Also write the card to this file.")
def evaluate(
    bundle: Path, protocol: str, anatomy: Path | None, workers: int, unlabelled: tuple[Path, ...], card: Path | None
) -> None:
    """Run BUNDLE, as the daemon would, over the protocol's held-out made exams and print its card.

    Example: trainer evaluate triage/bundles/demo --anatomy ct_template
    """
    from trainer.evaluate import measure
    from trainer.report import card_text
    from triage.inference.bundle import load_bundle

    plan = _checked(_load, protocol)
    loaded = _checked(load_bundle, bundle)
    measured = _checked(measure, loaded, plan, anatomy, workers, unlabelled, _tell)
    text = card_text(loaded.manifest, measured)
    if card is not None:
        card.write_text(text, encoding="utf-8")
    click.echo(text)


def _load(protocol: str) -> Any:
    from trainer.protocol import load_protocol

    return load_protocol(protocol)


def _checked(step: Callable[..., Any], *args: object) -> Any:
    """Run a step; what it raises on purpose becomes one sentence and exit status 1."""
    try:
        return step(*args)
    except (TriageError, ValueError, RuntimeError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc


def _tell(line: str) -> None:
    click.echo(line, err=True)
