"""Commands of those who answer for the models: check a bundle, choose one, compare, and analyse a study anew."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table

from triage.domain.errors import BundleError, ConfigurationError, NotFound
from triage.domain.finding import TriageResult
from triage.entrypoints import present
from triage.entrypoints.app import App, build, shipped_bundle, utc_now
from triage.inference.bundle import Bundle, load_bundle
from triage.inference.predict import Predictor
from triage.services import change_bundle
from triage.services.reanalyse import Replayed, replay, running
from triage.services.reanalyse import cancel as call_off
from triage.services.reanalyse import reanalyse as queue_again
from triage.settings import read_settings
from triage.store import bundle_slots
from triage.store.bundle_slots import Slot


@click.group()
def bundle() -> None:
    """Look after model bundles."""


@bundle.command(epilog="Example: triage bundle verify ./my-bundle")
@click.argument("path", type=click.Path(file_okay=False, path_type=Path), required=False)
def verify(path: Path | None) -> None:
    """Check a bundle folder: checksums, manifest, models.

    Without PATH: the demonstration bundle that runs where none is named.
    """
    found = load_bundle(path or shipped_bundle())
    click.echo(f"{found.name} {found.version} is whole, digest {found.digest}.{_mark(found)}")


@bundle.command(epilog="Example: triage bundle use ./my-bundle --shadow")
@click.argument("path", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option("--shadow", is_flag=True, help="Run it beside the one in use; its results are only compared.")
@click.option("--clear-shadow", is_flag=True, help="Run no bundle beside the one in use any more.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def use(config: Path | None, path: Path | None, shadow: bool, clear_shadow: bool, yes: bool) -> None:
    """Have the workers use another bundle, from their next job on. No restart is needed.

    The bundle is copied into the file area, and the choice is audited under your name. It goes before
    inference.bundle of the settings.
    """
    app, person = build(read_settings(config)), getpass.getuser()
    if clear_shadow:
        if path is not None or shadow:
            raise ConfigurationError("--clear-shadow stands alone: it needs no bundle.")
        if not change_bundle.clear_shadow(app.db, actor=person, now=utc_now()):
            raise NotFound("There is no shadow bundle.")
        click.echo("No bundle is run beside the one in use any more.")
        return
    if path is None:
        raise ConfigurationError("Name the folder of the bundle: triage bundle use PATH.")
    chosen, slot = load_bundle(path), Slot.SHADOW if shadow else Slot.ACTIVE
    in_use = _in_use(app)
    if in_use is not None and in_use.digest == chosen.digest and shadow:
        raise ConfigurationError("A bundle cannot be its own shadow: this one is in use.")
    present.console().print(_change(in_use, chosen, shadow))
    if chosen.demonstration:
        click.echo(_mark(chosen).strip())
    question = "Run this bundle beside it?" if shadow else "Use this bundle for every result from now on?"
    if not yes and not click.confirm(question):
        raise click.Abort
    Predictor.load(path, device="cpu")  # run once here, before any worker has to
    change_bundle.choose(app.db, app.blobs, chosen, slot, actor=person, now=utc_now())
    what = "is run beside the bundle in use" if shadow else "is used for every result"
    click.echo(f"{chosen.name} {chosen.version} {what} from the next job on; running workers load it by themselves.")


@bundle.command(epilog="Example: triage bundle compare --since 2026-11-01")
@click.option("--since", type=click.DateTime(), help="Only what a shadow has said from then on (UTC).")
@click.pass_obj
def compare(config: Path | None, since: datetime | None) -> None:
    """Show how often the shadow bundle said the same as the one whose results count."""
    app = build(read_settings(config))
    with app.db.read() as tx:
        rows = bundle_slots.shadow_comparison(tx, since.replace(tzinfo=UTC) if since else None)
    if not rows:
        raise NotFound("No shadow bundle has said anything yet; triage bundle use PATH --shadow starts one.")
    table = Table(
        "in use", "shadow", "series", "both suspect", "only in use", "only shadow", "neither", "shadow failed"
    )
    for row in rows:
        counted = (row.n, row.both, row.only_active, row.only_shadow, row.neither, row.failed)
        marked = (row.active, row.active_demonstration), (row.shadow, row.shadow_demonstration)
        names = [f"{name} (demonstration)" if demonstration else name for name, demonstration in marked]
        table.add_row(*names, *map(str, counted))
    present.console().print(table)


@click.command(epilog="Example: triage reanalyse 1.2.840.113619.2.1 --dry-run --bundle ./my-bundle")
@click.argument("study_instance_uid")
@click.option("--dry-run", is_flag=True, help="Say what the bundle says now beside what is on record; change nothing.")
@click.option(
    "--bundle", "path", type=click.Path(file_okay=False, path_type=Path), help="With --dry-run: ask this bundle."
)
@click.pass_obj
def reanalyse(config: Path | None, study_instance_uid: str, dry_run: bool, path: Path | None) -> None:
    """Have a study analysed anew by the bundle in use; its new result supersedes the old one everywhere."""
    app = build(read_settings(config))
    place = change_bundle.place_in_use(app.db, app.blobs, app.configured_bundle)
    if dry_run:
        predictor, every_slice = app.predictor(path or place), app.settings.inference.every_slice
        replayed = replay(app.db, app.blobs, predictor, study_instance_uid, every_slice=every_slice)
        name = f"{predictor.bundle.name} {predictor.bundle.version}"
        present.console().print(_replayed(name, replayed))
        return
    if path is not None:
        raise ConfigurationError(
            "A result that counts is made by the bundle in use: choose it with triage bundle use, or add --dry-run."
        )
    digest = load_bundle(place).digest
    count = queue_again(
        app.db, app.blobs, study_instance_uid, bundle_digest=digest, actor=getpass.getuser(), now=utc_now()
    )
    click.echo(f"Queued: {count} {'series' if count > 1 else 'analysis'}, behind the studies that are new.")


@click.command(epilog="Example: triage cancel 1.2.840.113619.2.1")
@click.argument("study_instance_uid")
@click.pass_obj
def cancel(config: Path | None, study_instance_uid: str) -> None:
    """Call off the queued analyses of a study. It is then shown as not analysed, with your name as the reason.

    What was found before stays, and so do its deliveries.
    """
    app = build(read_settings(config))
    if not call_off(app.db, study_instance_uid, actor=getpass.getuser(), now=utc_now()):
        if running(app.db, study_instance_uid):
            raise NotFound(f"A worker is at study {study_instance_uid} already; it is left to finish.")
        raise NotFound(f"No analysis of study {study_instance_uid} is queued; triage show tells how it stands.")
    click.echo("Called off. The study is shown as not analysed; triage reanalyse queues it again.")


def _in_use(app: App) -> Bundle | None:
    """The bundle whose results count; None when it is damaged or gone, which is a reason to choose another."""
    try:
        return load_bundle(change_bundle.place_in_use(app.db, app.blobs, app.configured_bundle))
    except BundleError as exc:
        click.echo(f"The bundle in use cannot be read: {exc}", err=True)
        return None


def _mark(found: Bundle) -> str:
    return " DEMONSTRATION ONLY: not for use in care." if found.demonstration else ""


def _change(in_use: Bundle | None, chosen: Bundle, shadow: bool) -> Table:
    """What changes, line by line."""
    table = Table("", "in use", "shadow" if shadow else "to be used")
    old, new = (_facts(one) if one is not None else {} for one in (in_use, chosen))
    for name, value in new.items():
        table.add_row(name, old.get(name, "-"), value, style="bold" if old.get(name) != value else None)
    return table


def _facts(one: Bundle) -> dict[str, str]:
    thresholds = one.manifest.thresholds
    limits = {name: getattr(thresholds, name) for name in thresholds.__dataclass_fields__}
    return {
        "bundle": f"{one.name} {one.version}",
        "digest": one.digest,
        "meant for": one.manifest.intended_input,
        **{f"threshold {name}": f"{limit:g}" for name, limit in limits.items()},
    }


def _replayed(name: str, replayed: list[Replayed]) -> Table:
    table = Table("series", "on record", f"{name} says now", title="Nothing was changed, sent or told.")
    for one in replayed:
        recorded = "-" if one.recorded is None else f"{one.recorded.bundle}: {_said(one.recorded.result)}"
        table.add_row(one.series_instance_uid, recorded, _said(one.said))
    return table


def _said(said: TriageResult | str) -> str:
    if isinstance(said, str):
        return f"not analysed: {said}"
    return f"{said.status} ({said.urgency}), score {said.score:.4f}, {said.total_volume_ml:.1f} ml"
