"""``triage selftest``: what an archive keeps, alters or refuses."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import click
from rich.table import Table

from triage.domain.encoded import ObjectKind
from triage.domain.errors import ConfigurationError, TriageError
from triage.entrypoints import present, ways_out
from triage.entrypoints.app import utc_now
from triage.services.selftest import SOURCE, Trial, Verdict
from triage.services.selftest import selftest as try_archive
from triage.settings import DestinationSettings, Settings, read_settings

_UIDS = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"})


@click.command(epilog="Example: triage selftest pacs")
@click.argument("destination")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_obj
def selftest(config_file: Path | None, destination: str, as_json: bool) -> None:
    """Send a synthetic study with every kind of result object to DESTINATION (its name), fetch it again and compare.

    Ends with a failure when something that this destination is configured to be sent does not come back.
    """
    settings = read_settings(config_file)
    found = _named(settings, destination)
    archive = ways_out.archive(found, settings)
    out = present.console()
    with out.status("") as status:
        verdict = try_archive(archive, run=uuid.uuid4().hex, at=utc_now(), tell=status.update)
    if as_json:
        present.print_json(_json(verdict))
    else:
        out.print(_table(found.name, verdict))
        out.print(*_sentences(verdict, found.objects), sep="\n", soft_wrap=True, highlight=False)
    failed = [trial for trial in verdict.trials if not trial.kept and trial.name in found.objects]
    if failed:
        raise TriageError(_failure(found.name, failed))


def _named(settings: Settings, name: str) -> DestinationSettings:
    for destination in settings.destinations:
        if destination.name == name:
            return destination
    known = ", ".join(d.name for d in settings.destinations) or "none"
    raise ConfigurationError(f"There is no destination {name!r}; the settings name: {known}.")


def _failure(name: str, failed: Sequence[Trial]) -> str:
    """Which of the objects that this destination is sent do not get there, or do not come back."""
    refused = dict.fromkeys(trial.name for trial in failed if trial.error is not None)
    lost = dict.fromkeys(trial.name for trial in failed if trial.error is None)
    said = [f"did not store {', '.join(refused)}"] if refused else []
    said += [f"did not give back {', '.join(lost)}"] if lost else []
    return f"{name} {' and '.join(said)}, which its settings send it."


def _table(name: str, verdict: Verdict) -> Table:
    table = Table(title=f"What {name} does with our objects", title_justify="left")
    for column in ("object", "stored", "found by query", "came back", "altered, or why not"):
        table.add_column(column, overflow="fold")
    for kind, group in groupby(verdict.trials, key=lambda trial: trial.name):
        tried = list(group)
        stored = [t for t in tried if t.error is None]
        asked = verdict.not_found_because is None
        table.add_row(
            f"{kind} (source)" if kind == SOURCE else kind,
            _count(len(stored), len(tried)),
            _count(sum(t.found for t in stored), len(stored)) if asked else "?",
            _count(sum(t.kept for t in stored), len(stored)),
            _remarks(tried),
        )
    return table


def _count(part: int, whole: int) -> str:
    if whole == 0:
        return "-"
    return ("yes" if part else "[bold red]no[/]") if part in (0, whole) else f"[bold red]{part} of {whole}[/]"


def _remarks(tried: Sequence[Trial]) -> str:
    remarks = [t.error or t.lost for t in tried] + [str(change) for t in tried for change in t.changed]
    return "; ".join(dict.fromkeys(remark for remark in remarks if remark)) or "unaltered"


def _sentences(verdict: Verdict, configured: Sequence[ObjectKind]) -> list[str]:
    said = [_recommendation(verdict, configured)]
    altered = dict.fromkeys(change.element for trial in verdict.trials for change in trial.changed)
    if altered:
        said.append(f"It alters what it stores: {', '.join(altered)}.")
    if not _UIDS.isdisjoint(altered):
        said.append("With other UIDs our objects are not found beside their images: have the archive keep UIDs.")
    if verdict.not_found_because is not None:
        said.append(f"It could not be queried: {verdict.not_found_because}")
    if verdict.left_because is None:
        said.append("The synthetic study was deleted again.")
    else:
        said.append(f"The synthetic study could not be deleted: {verdict.left_because}")
        said.append(f"Please delete it in the archive: patient SYNTHETIC^SELFTEST, study {verdict.study_instance_uid}.")
    return said


def _recommendation(verdict: Verdict, configured: Sequence[ObjectKind]) -> str:
    if verdict.recommended:
        kinds = ", ".join(f'"{kind}"' for kind in verdict.recommended)
        same = ", as it is" if set(verdict.recommended) == set(configured) else ""
        return f"Recommended for this destination: objects = [{kinds}]{same}."
    if any(trial.error is None for trial in verdict.trials):
        return "No result object came back, so nothing can be recommended."
    return "It stores nothing of ours."


def _json(verdict: Verdict) -> dict[str, object]:
    return {
        "study_instance_uid": verdict.study_instance_uid,
        "recommended": list(verdict.recommended),
        "not_found_because": verdict.not_found_because,
        "left_because": verdict.left_because,
        "trials": [
            {
                "kind": trial.name,
                "stored": trial.error is None,
                "found": trial.found,
                "kept": trial.kept,
                "why": trial.error or trial.lost,
                "altered": [str(change) for change in trial.changed],
            }
            for trial in verdict.trials
        ],
    }
