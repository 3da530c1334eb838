"""``trainer phantom``: write made exams to a folder."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.phantom.ingredients import Ingredient
from triage.domain.finding import SUBTYPES, ReasonCode, Subtype, WorklistStatus

_STATUSES = ["suspected", "not_suspected", "not_analysed"]
_SUBTYPES = [subtype.value for subtype in SUBTYPES]
_INGREDIENTS = [ingredient.value for ingredient in Ingredient]

# Spelled out, as the modules of these enums load OpenCV, for which --help need not wait.
_REASONS = ["gap", "contrast", "too_few_slices", "localizer"]
_CONDITIONS = ["contrast", "craniectomy", "bone_flap", "metal"]


@click.command("phantom")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--studies", type=click.IntRange(1, 9_999), default=4, show_default=True, help="How many exams to write.")
@click.option("--seed", type=click.IntRange(0, 99_999_999), default=1, show_default=True, help="Same seed, same files.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(_STATUSES), help="Wanted outcomes, in turn. Repeatable."
)
@click.option(
    "--reason", type=click.Choice(_REASONS), default="gap", show_default=True, help="Defect of not_analysed exams."
)
@click.option(
    "--subtype",
    "subtypes",
    multiple=True,
    type=click.Choice(_SUBTYPES),
    help="Bleed with these only. Repeatable.",
)
@click.option(
    "--anatomy", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of the CT template."
)
@click.option("--slices", type=click.IntRange(8, 400), help="Slices per exam; 30 to 34 of 5 mm if not given.")
@click.option("--thickness", type=click.FloatRange(0.5, 10), default=5.0, show_default=True, help="In mm.")
@click.option(
    "--base-thickness", type=click.FloatRange(0.5, 10), help="Of the lower slices in mm, if it is another one."
)
@click.option("--tilt", type=click.FloatRange(-30, 30), default=0.0, show_default=True, help="Gantry tilt in degrees.")
@click.option("--matrix", type=click.IntRange(64, 2048), default=512, show_default=True, help="Rows and columns.")
@click.option("--condition", type=click.Choice(_CONDITIONS), help="Heads that the daemon was not made for.")
@click.option("--without", multiple=True, type=click.Choice(_INGREDIENTS), help="Leave this out. Repeatable.")
@click.option("--masks", is_flag=True, help="Also write the true labels of each exam as study-NNNN.npz.")
def phantom_command(
    out: Path,
    studies: int,
    seed: int,
    statuses: tuple[str, ...],
    reason: str,
    subtypes: tuple[str, ...],
    anatomy: Path | None,
    slices: int | None,
    thickness: float,
    base_thickness: float | None,
    tilt: float,
    matrix: int,
    condition: str | None,
    without: tuple[str, ...],
    masks: bool,
) -> None:
    """Write SYNTHETIC head CT exams to OUT.

    What is true of them stands in truth.json beside them. Without --anatomy the heads are made from formulas alone and
    need no data. The status in truth.json says whether there is blood, or which defect was asked for; of a --condition
    it says nothing.

    Example: trainer phantom heads --studies 6 --seed 7 --status suspected --status not_suspected
    """
    from trainer.phantom.conditions import Condition  # keeps --help quick
    from trainer.phantom.exam import PhantomStudy, ScanGeometry
    from trainer.phantom.writing import StudyPlan, write_studies

    def report(made: PhantomStudy, folder: Path) -> None:
        blood = ", ".join(f"{subtype} {made.ml[subtype]:.1f} ml" for subtype in made.subtypes) or "no blood"
        reason_text = f" ({made.reason})" if made.reason else ""
        click.echo(f"{folder.name}: {made.status}{reason_text}, {len(made.planes)} slices, {blood}")

    try:
        geometry = ScanGeometry(
            slice_count=slices,
            thickness_mm=thickness,
            base_thickness_mm=base_thickness,
            tilt_deg=tilt,
            matrix=matrix,
        )
        plan = StudyPlan(
            anatomy=anatomy,
            subtypes=tuple(Subtype(value) for value in subtypes) or None,
            reason=ReasonCode(reason),
            geometry=geometry,
            condition=Condition(condition) if condition else None,
            without=frozenset(without),
        )
        chosen = [WorklistStatus(value) for value in statuses or ("suspected", "not_suspected")]
        truth = write_studies(out, studies, seed, statuses=chosen, plan=plan, masks=masks, on_written=report)
    except (ValueError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(f"Truth: {truth}")
