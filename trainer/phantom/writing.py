"""Made exams as folders of DICOM files, with the truth beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainer.phantom.conditions import Condition
from trainer.phantom.dicom import study_instances, study_uids
from trainer.phantom.exam import PhantomStudy, ScanGeometry, study
from triage.domain.finding import ReasonCode, Subtype, WorklistStatus

TRUTH_FILE = "truth.json"

MOST_STUDIES = 9_999
"""Seeds of the exams of one run are 10,000 times its own and on: with more they would be those of the next seed."""


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What the exams of a run have in common."""

    anatomy: Path | None = None
    subtypes: tuple[Subtype, ...] | None = None
    reason: ReasonCode = ReasonCode.GAP
    geometry: ScanGeometry = field(default_factory=ScanGeometry)
    condition: Condition | None = None
    without: frozenset[str] = frozenset()


def write_studies(
    out: Path,
    studies: int,
    seed: int,
    *,
    statuses: Sequence[WorklistStatus] = (WorklistStatus.SUSPECTED, WorklistStatus.NOT_SUSPECTED),
    plan: StudyPlan | None = None,
    masks: bool = False,
    on_written: Callable[[PhantomStudy, Path], None] | None = None,
) -> Path:
    """Write exams and their truth, and return the path of the truth.

    Parameters
    ----------
    out : Path
        Folder to fill: ``study-0001/0001.dcm``, ``study-0001.npz`` with ``masks``, and at the end ``truth.json``.
    statuses : sequence of WorklistStatus
        The wanted outcomes, taken in turn.
    masks : bool
        Also write the true labels of each exam, uint8 (slice, row, column), slices sorted from the feet up.
    on_written
        Called after each exam, to show progress.

    Raises
    ------
    FileExistsError
        If ``out`` already holds exams or their truth: those of two runs would be mixed.
    ValueError
        If there are too few or too many ``studies``, or one of them cannot be made.
    """
    if not 1 <= studies <= MOST_STUDIES or not statuses:
        raise ValueError(f"1 to {MOST_STUDIES} studies and at least one status are needed")
    truth_path = out / TRUTH_FILE
    if truth_path.exists() or any(out.glob("study-*")):
        raise FileExistsError(f"{out} holds exams of another run: choose an empty folder")
    plan = plan or StudyPlan()
    truth = []
    for number in range(1, studies + 1):
        made = study(
            seed * (MOST_STUDIES + 1) + number,
            status=statuses[(number - 1) % len(statuses)],
            reason=plan.reason,
            anatomy=plan.anatomy,
            subtypes=plan.subtypes,
            geometry=plan.geometry,
            condition=plan.condition,
            without=plan.without,
        )
        folder = out / f"study-{number:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        for index, content in enumerate(study_instances(made, number)):
            (folder / f"{index + 1:04d}.dcm").write_bytes(content)
        if masks:
            np.savez_compressed(out / f"{folder.name}.npz", labels=made.labels)
        truth.append(_truth_row(made, number, folder.name))
        if on_written is not None:
            on_written(made, folder)
    truth_path.write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    return truth_path


def _truth_row(made: PhantomStudy, number: int, folder: str) -> dict[str, object]:
    """What is true of one exam, for ``truth.json``."""
    study_instance_uid, series_instance_uid = study_uids(made, number)
    return {
        "study_instance_uid": study_instance_uid,
        "series_instance_uid": series_instance_uid,
        "folder": folder,
        "status": made.status.value,
        "reason": made.reason.value if made.reason else None,
        "subtypes": [subtype.value for subtype in made.subtypes],
        "ml": {subtype.value: round(volume, 3) for subtype, volume in made.ml.items()},
        "seed": made.seed,
        "anatomy": made.anatomy,
    }
