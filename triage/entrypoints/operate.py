"""Commands that act: settings, schema, retry, and a Storage SCU."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.progress import Progress

from triage.dicom.header import read_header
from triage.domain.errors import ConfigurationError, NotFound, TriageError, UnreadableInstance
from triage.domain.study import AeTitle
from triage.entrypoints import present
from triage.entrypoints.app import build, database_url, utc_now
from triage.net.scu import OutgoingInstance, RemoteAe
from triage.net.scu import send as store
from triage.services.recover import retry_study
from triage.settings import example_toml, read_settings, settings_of_record
from triage.store.db import upgrade


@click.command(epilog="Example: triage config --example > triage.toml")
@click.option("--example", is_flag=True, help="Print a settings file with every key, its default and its meaning.")
@click.pass_obj
def config(config_file: Path | None, example: bool) -> None:
    """Show the effective settings, secrets hidden."""
    if example:
        click.echo(example_toml(), nl=False)
    else:
        present.print_json(settings_of_record(read_settings(config_file)))


@click.group()
def db() -> None:
    """Look after the database."""


@db.command("upgrade", epilog="Example: triage db upgrade")
@click.pass_obj
def db_upgrade(config_file: Path | None) -> None:
    """Create the schema, or bring it to this release. Safe to run again."""
    settings = read_settings(config_file)
    revision = upgrade(database_url(settings))
    click.echo(f"The database is at schema {revision}.")


@click.command(epilog="Example: triage retry 1.2.840.113619.2.1")
@click.argument("study_instance_uid")
@click.pass_obj
def retry(config_file: Path | None, study_instance_uid: str) -> None:
    """Queue the failed analyses and deliveries of a study again."""
    app = build(read_settings(config_file))
    jobs, deliveries = retry_study(app.db, study_instance_uid, actor=getpass.getuser(), now=utc_now())
    if jobs + deliveries == 0:
        raise NotFound(f"Nothing has failed in study {study_instance_uid}; triage show tells how it stands.")
    click.echo(f"Queued again: {jobs} analyses, {deliveries} deliveries.")


@click.command(epilog="Example: triage send ./study --to ICHTRIAGE@127.0.0.1:11112")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--to", "target", required=True, metavar="AE@HOST:PORT", help="Whom to send to.")
@click.option("--from", "calling", default="TRIAGESEND", show_default=True, help="AE title to call with.")
def send(paths: tuple[Path, ...], target: str, calling: str) -> None:
    """Send DICOM files or folders by C-STORE, all over one association."""
    remote = parse_remote(target, calling)
    found, skipped = dicom_files(paths)
    if not found:
        raise UnreadableInstance("There is no DICOM file in what was named.")
    with Progress(transient=True) as progress:
        task = progress.add_task("sending", total=len(found))
        outcomes = store(remote, [f.outgoing for f in found], on_sent=lambda _: progress.advance(task))
    failed = [o for o in outcomes if o.error is not None]
    for outcome in failed:
        click.echo(f"{outcome.sop_instance_uid}: {outcome.error}", err=True)
    click.echo(f"Sent {len(outcomes) - len(failed)} of {len(found)} instances; {skipped} files are not DICOM.")
    if failed:
        raise TriageError(f"{len(failed)} instances were not accepted.")


def parse_remote(target: str, calling: str) -> RemoteAe:
    """Read ``AE@HOST:PORT``.

    Raises
    ------
    ConfigurationError
    """
    title, at, place = target.partition("@")
    host, colon, port = place.rpartition(":")
    if not (at and colon and host and port.isdigit()):
        raise ConfigurationError(f"{target!r} does not say whom to send to: write AE@HOST:PORT.")
    try:
        return RemoteAe(AeTitle(title).value, host, int(port), calling_ae_title=AeTitle(calling).value)
    except ValueError as exc:
        raise ConfigurationError(f"{exc}.") from exc


@dataclass(frozen=True)
class FoundInstance:
    """A DICOM file, and the study it belongs to."""

    study_instance_uid: str
    outgoing: OutgoingInstance


def dicom_files(paths: Sequence[Path]) -> tuple[list[FoundInstance], int]:
    """Every DICOM instance below the paths, and how many files are something else."""
    found: list[FoundInstance] = []
    skipped = 0
    files = [f for p in paths for f in (sorted(p.rglob("*")) if p.is_dir() else [p]) if f.is_file()]
    for file in files:
        try:
            header = read_header(file.read_bytes())
        except UnreadableInstance:
            skipped += 1
            continue
        outgoing = OutgoingInstance(
            header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid, file.read_bytes
        )
        found.append(FoundInstance(header.study_instance_uid, outgoing))
    return found, skipped
