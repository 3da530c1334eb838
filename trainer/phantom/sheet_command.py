"""``trainer sheet``: made heads beside a real series, to be looked at."""

from __future__ import annotations

from pathlib import Path

import click

from triage.domain.errors import TriageError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("sheet")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--beside", type=_FOLDER, required=True, help="Folder of one real DICOM series.")
@click.option("--anatomy", type=_FOLDER, help="Folder of the CT template; without it all heads are made from formulas.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Same seed, same heads.")
def sheet_command(out: Path, beside: Path, anatomy: Path | None, seed: int) -> None:
    """Write a PNG of 40 SYNTHETIC heads.

    They stand beside slices of a real series, all at the window 0 to 80 HU. One slice of each head: two heads of every
    subtype from both anatomy sources, mimics, and slices where bone is only half in the slice.

    Example: trainer sheet heads.png --anatomy ct_template --beside ge_head_tilt --seed 3
    """
    from trainer.phantom.sheet import write_sheet  # keeps --help quick

    try:
        write_sheet(out, anatomy, beside, seed)
    except (TriageError, ValueError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(f"Sheet: {out}")
