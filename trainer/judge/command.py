"""``trainer judge``: everything that is asked of a bundle before it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triage.domain.errors import TriageError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("judge")
@click.argument("bundle", type=_FOLDER)
@click.option("--anatomy", type=_FOLDER, help="Folder of the CT template; without it all made heads are procedural.")
@click.option("--held-out", type=click.IntRange(0), default=200, show_default=True, help="Made exams; 0 for none.")
@click.option("--only", type=click.Choice(["template", "procedural"]), help="Made exams of one anatomy source alone.")
@click.option("--insilico", type=_FOLDER, help="Folder of the InSilicoICH figures with their metadata.json.")
@click.option("--series", type=_FOLDER, help="Folder of one real series without blood, in DICOM.")
@click.option("--pasted", type=click.IntRange(0), default=60, show_default=True, help="Lesions of each kind in it.")
@click.option("--against", type=_FOLDER, help="Another bundle, the one that BUNDLE was made smaller from.")
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True, help="Processes; 0 for this one.")
@click.option(
    "--out",
    "outs",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the report here: as JSON, with every single case, or as .md. Repeatable.",
)
def judge_command(bundle: Path, outs: tuple[Path, ...], **given: Any) -> None:
    """Measure BUNDLE on made exams, figures of another maker and a real series, beside the limits set for it.

    Nets never learn from any of it; a series that --quiet was given when the bundle was made has moved its limit. What
    is not met is said, and the command ends without an error.

    Example: trainer judge triage/bundles/demo --anatomy ct_template --held-out 200 --out judged.json
    """
    from trainer.judge.findings import as_json, markdown
    from trainer.judge.run import Judged, judge

    try:
        for out in outs:
            if out.suffix not in (".json", ".md"):
                raise ValueError(f"--out takes a file that ends in .json or .md, not {out.name}")
            if not out.parent.is_dir():
                raise ValueError(f"there is no folder {out.parent} to write {out.name} into")
        said, sections = judge(Judged(bundle=bundle, **given), _tell)
        text = markdown(said, sections)
        for out in outs:
            out.write_text(as_json(said, sections) if out.suffix == ".json" else text, encoding="utf-8")
    except (TriageError, ValueError, RuntimeError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(text)


def _tell(line: str) -> None:
    click.echo(line, err=True)
