"""The ``triage`` command."""

from __future__ import annotations

import pkgutil
import sys
from pathlib import Path

import click

from triage import __version__
from triage.domain.errors import BundleError, ConfigurationError, ProviderUnavailable, TriageError
from triage.domain.intended_use import INTENDED_USE
from triage.entrypoints.supervisor import EXIT_CONFIGURATION, ROLES, run_role, supervise
from triage.settings import read_settings

_ELSEWHERE = {
    "audit": "audit_log",
    "bundle": "models",
    "cancel": "models",
    "config": "operate",
    "db": "operate",
    "reanalyse": "models",
    "retry": "operate",
    "selftest": "selftest",
    "send": "operate",
    "show": "look",
    "token": "people",
    "user": "people",
    "worklist": "look",
}
"""The module beside this one that holds a command."""


class Commands(click.Group):
    """The commands of this module, and those that stand elsewhere: each is imported when it is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Names of all of them."""
        return sorted([*self.commands, *_ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name."""
        if name in _ELSEWHERE:
            found: click.Command = pkgutil.resolve_name(f"triage.entrypoints.{_ELSEWHERE[name]}:{name}")
            return found
        return self.commands.get(name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=INTENDED_USE)
@click.version_option(__version__)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings file; without it ./triage.toml is read if it is there.",
)
@click.pass_context
def triage(context: click.Context, config: Path | None) -> None:
    """Put suspected intracranial haemorrhage first in the reading list.

    Example: triage --config triage.toml run
    """
    context.obj = config


@triage.command(epilog="Example: triage run --role listen --role clock")
@click.option("--role", "roles", multiple=True, type=click.Choice(sorted(ROLES)), help="Only these roles; default all.")
@click.option("--alone", is_flag=True, help="Run the one role in this process: for systemd and containers.")
@click.option("--supervisor", type=int, hidden=True)
@click.pass_obj
def run(config: Path | None, roles: tuple[str, ...], alone: bool, supervisor: int | None) -> None:
    """Run the daemon: receive, analyse, send, keep time, and serve the pages.

    Every role is a process of its own and is started again when it dies. SIGTERM stops all of them cleanly.
    """
    if alone and len(roles) != 1:
        raise click.UsageError("--alone runs one role: name it with --role.")
    settings = read_settings(config)
    if alone or supervisor is not None:
        run_role(roles[0], settings, supervisor)
    else:
        supervise(roles or tuple(ROLES), config)


@triage.command(epilog="Example: triage demo --once")
@click.option("--once", is_flag=True, help="End by itself instead of staying up until Ctrl-C.")
@click.option(
    "--study",
    type=click.Path(exists=True, path_type=Path),
    help="Send the DICOM files of this folder instead of made heads.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Where the demo keeps its database, files and archive; each run gets a folder of its own in it.",
)
def demo(once: bool, study: Path | None, folder: Path) -> None:
    """Run the main job on this machine: daemon, stand-in archive, three studies, worklist."""
    from triage.entrypoints.demo import run_demo

    run_demo(folder, once=once, study=study)


def main() -> None:
    """Run the command; an expected failure is one sentence on standard error and a non-zero exit."""
    try:
        triage(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.exceptions.Exit as exc:
        sys.exit(exc.exit_code)
    except TriageError as exc:
        click.echo(f"triage: {exc}", err=True)
        sys.exit(exit_status(exc))


def exit_status(exc: TriageError) -> int:
    """78 when starting again cannot help, for a setting must be mended first; else 1."""
    return EXIT_CONFIGURATION if isinstance(exc, (BundleError, ConfigurationError, ProviderUnavailable)) else 1
