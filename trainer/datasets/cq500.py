"""CQ500: 491 patients, each with several series as DICOM, and what three readers said of each patient.

Licence: CC BY-NC-SA 4.0; the files are the user's to download.

- A patient is ``CQ500CTN CQ500CTN/Unknown Study/<series>/*.dcm``; other ways of unpacking have underscores or dashes,
  and ``reads.csv`` says ``CQ500-CT-N``. An id with a suffix after a dash is another study of patient N.
- One series of a patient is taken, as the daemon would choose: plain, not of a sharp kernel, of the whole head, without
  gaps, of slices near 5 mm rather than thin ones, and with a living head in it: the thin plain series of patient 172 is
  a chest. Every other series is named with the reason.
- The truth is what two of three readers say, and it is of the patient: slices stay unknown.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from trainer.datasets.case import (
    NOTHING_KNOWN,
    Case,
    Dataset,
    Labels,
    SlicePixels,
    SliceRecord,
    Unusable,
    slice_by_slice,
    wrong_folder,
)
from trainer.datasets.cq500_reads import PatientKey, patient_key, read_reads
from trainer.datasets.physionet import home_of
from trainer.datasets.reading import dicom_slice
from trainer.datasets.series import SliceFile, by_series, ordered, read_headers
from trainer.tell import Tell
from triage.dicom.descriptions import is_contrast, speaks_of_head, speaks_of_other_body_part, speaks_of_sharp_kernel
from triage.dicom.instance_rules import instance_exclusion
from triage.dicom.kernel import Sharpness
from triage.dicom.select import TARGET_THICKNESS_MM, Preference, exclusion, preference, usable
from triage.dicom.stacking import stack_series
from triage.dicom.volume import read_volume
from triage.domain.errors import TriageError
from triage.domain.study import InstanceHeader

NAME = "cq500"
_TABLE = "reads.csv"
_EXPECTS = f"{_TABLE} and 'CQ500CTN CQ500CTN/Unknown Study/<series>/*.dcm', as the archives of CQ500 unpack"
_COPY = re.compile(r"[-_ ]\d$")
_TELL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Series:
    """A series that could be used, and how well it suits."""

    folder: Path
    files: tuple[SliceFile, ...]
    preference: Preference


def _find(root: Path, work: Path, tell: Tell) -> Iterator[Case | Unusable]:
    home = home_of(root, _TABLE)
    folders = _patients(home) if home is not None else {}
    if home is None or not folders:
        raise wrong_folder(root, _EXPECTS)
    reads = read_reads(home / _TABLE)
    yield from reads.unusable
    for key in sorted(set(reads.labels) - set(folders)):
        yield Unusable(str(home / _TABLE), f"it speaks of {key.study}, of whom there is no folder")
    told_at = time.monotonic()
    for done, (key, same) in enumerate(sorted(folders.items())):
        for other in same[1:]:
            yield Unusable(str(other), f"it is {key.study} again, which was read from {same[0].name}")
        if key not in reads.labels:
            yield Unusable(str(home / _TABLE), f"it says nothing of {key.study}; the labels stay unknown")
        yield from _patient(same[0], key, reads.labels.get(key, NOTHING_KNOWN))
        if time.monotonic() - told_at >= _TELL_SECONDS:
            tell(f"series chosen for {done + 1} of {len(folders)} patients")
            told_at = time.monotonic()


def _patients(home: Path) -> dict[PatientKey, list[Path]]:
    """Folders of patients, here or one folder below, as the archives unpack."""
    above = sorted(one for one in home.iterdir() if one.is_dir())
    below = [one for folder in above if patient_key(folder.name) is None for one in sorted(folder.iterdir())]
    folders: dict[PatientKey, list[Path]] = {}
    for one in (*above, *(one for one in below if one.is_dir())):
        if (key := patient_key(one.name)) is not None:
            folders.setdefault(key, []).append(one)
    return folders


def _patient(folder: Path, key: PatientKey, labels: Labels) -> Iterator[Case | Unusable]:
    candidates: list[_Series] = []
    for place, names, files in os.walk(folder):
        names.sort()
        if files:
            for found in _candidates(Path(place), [Path(place) / name for name in sorted(files)]):
                if isinstance(found, Unusable):
                    yield found
                else:
                    candidates.append(found)
    candidates.sort(key=lambda one: one.preference, reverse=True)
    chosen: _Series | None = None
    for one in candidates:
        if chosen is not None:
            yield Unusable(str(one.folder), f"{chosen.folder.name} was chosen ({chosen.preference.sentence}), not this")
        elif fault := _no_head(one):
            yield Unusable(str(one.folder), fault)
        else:
            chosen = one
    if chosen is None:
        yield Unusable(str(folder), f"no series of {key.study} could be used")
        return
    kept = {header.sop_instance_uid for header in usable([file.header for file in chosen.files])}
    for file in chosen.files:
        odd = instance_exclusion(file.header)
        if file.header.sop_instance_uid not in kept and odd is not None:
            yield Unusable(str(file.path), odd.sentence)
    stack = ordered([file for file in chosen.files if file.header.sop_instance_uid in kept])
    slices = tuple(
        SliceRecord(file.path, height_mm) for file, height_mm in zip(stack.files, stack.positions_mm, strict=True)
    )
    yield Case(NAME, key.patient, key.study, slices, labels)


def _candidates(folder: Path, files: list[Path]) -> Iterator[_Series | Unusable]:
    """The series of one folder that could be used, and why the others could not."""
    if fault := _fault_of_name(folder.name):
        yield Unusable(str(folder), fault)
        return
    read, unusable = read_headers(files)
    yield from unusable
    for series in by_series(read):
        said = [replace(one, header=_described(one, folder.name)) for one in series]
        headers = [one.header for one in said]
        try:
            if len({header.sop_instance_uid for header in headers}) != len(headers):
                raise ValueError("several of its files are the same instance")
            refused = exclusion(headers)
            if refused is not None:
                raise ValueError(refused.sentence)
            suits = preference(headers)
        except (TriageError, ValueError) as exc:
            yield Unusable(str(folder), f"this series is not used: {exc}")
            continue
        if suits.kernel is Sharpness.SHARP:
            yield Unusable(str(folder), f"this series is not used: its kernel is sharp ({suits.sentence})")
        else:
            yield _Series(folder, tuple(said), suits)


def _fault_of_name(name: str) -> str:
    """Why a series is not worth reading, told from the name of its folder; an empty text otherwise."""
    plain = _COPY.sub("", name)
    if is_contrast(plain):
        return "this series is not used: its name speaks of contrast"
    if speaks_of_sharp_kernel(plain):
        return "this series is not used: its name speaks of bone or another sharp kernel"
    if speaks_of_other_body_part(plain) and not speaks_of_head(plain):
        return "this series is not used: its name speaks of another part of the body"
    return ""


def _described(one: SliceFile, folder: str) -> InstanceHeader:
    """The folder is named after the series, and its name stands in where the header lost the description."""
    return replace(one.header, series_description=one.header.series_description or folder)


def _no_head(series: _Series) -> str:
    """Why the pixels show no head, or an empty text; slices about 5 mm apart are enough to tell."""
    from triage.inference.plausible import check_living_head  # loads OpenCV, which other data sets do not need

    headers = [one.header for one in series.files]
    by_uid = {one.header.sop_instance_uid: one.path for one in series.files}
    kept = usable(headers)
    stack = stack_series(kept)
    step_mm = float(stack.distances_mm[-1] - stack.distances_mm[0]) / (len(stack.order) - 1)
    every = max(1, int(TARGET_THICKNESS_MM / step_mm + 0.5))
    try:
        contents = [by_uid[kept[index].sop_instance_uid].read_bytes() for index in stack.order[::every]]
        check_living_head(read_volume(contents))
    except (OSError, TriageError) as exc:
        return f"this series is not used: {exc}"
    return ""


def _read(case: Case) -> Iterator[SlicePixels | Unusable]:
    return slice_by_slice(case, lambda one: SlicePixels(*dicom_slice(one.image), None))


CQ500 = Dataset(
    name=NAME,
    title="CQ500, one plain series of each patient",
    licence="CC BY-NC-SA 4.0",
    source="http://headctstudy.qure.ai/dataset",
    expects=_EXPECTS,
    find=_find,
    read=_read,
)
