"""Commands that read: the worklist and one study."""

from __future__ import annotations

import itertools
from contextlib import suppress
from functools import partial
from pathlib import Path

import click

from triage.domain.errors import StoreUnavailable
from triage.domain.worklist import WorklistRow
from triage.domain.worklist_json import row_json
from triage.entrypoints import present
from triage.entrypoints.app import App, build, utc_now
from triage.services.tell import study_json
from triage.settings import read_settings
from triage.store import worklist as worklist_rows
from triage.store.file_area import FileArea
from triage.store.reading_list import every

ROWS_OF_A_TABLE = 100


@click.command(epilog="Example: triage worklist --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a study, first to be read first.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"Show so many studies and no more; without it JSON has all of them, and the table {ROWS_OF_A_TABLE}.",
)
@click.pass_obj
def worklist(config: Path | None, as_json: bool, limit: int | None) -> None:
    """Show the studies in the order in which they should be read."""
    app = build(read_settings(config))
    if as_json:
        present.print_json([row_json(row) for row in reading_list(app, limit)])
        return
    shown = limit or ROWS_OF_A_TABLE
    rows = reading_list(app, shown + 1)
    present.console().print(present.worklist_table(rows[:shown], utc_now()))
    if len(rows) > shown:
        click.echo(f"These are the first {shown} studies; --limit shows more of them.")


def reading_list(app: App, limit: int | None = None) -> list[WorklistRow]:
    """The rows, first to be read first: all of them, or the first ``limit``."""
    with app.db.read() as tx:
        return [study.row for study in itertools.islice(every(tx, app.clock()), limit)]


def file_of(blobs: FileArea, key: str) -> str | None:
    """Where a file lies; None where it is gone. A file area that does not answer is no reason to show nothing."""
    with suppress(StoreUnavailable):
        if not blobs.holds(key):
            return None
    return blobs.where(key)


@click.command(epilog="Example: triage show 1.2.840.113619.2.1 --json")
@click.argument("study_instance_uid")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(config: Path | None, study_instance_uid: str, as_json: bool) -> None:
    """Show one study: findings, series, objects, deliveries and timeline."""
    app = build(read_settings(config))
    with app.db.read() as tx:
        told = study_json(tx, study_instance_uid, partial(file_of, app.blobs))
        row = worklist_rows.row(tx, study_instance_uid)
    assert row is not None  # what study_json does not know it refuses
    if as_json:
        present.print_json(told)
    else:
        present.print_study(row, told, utc_now())
