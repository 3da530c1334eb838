"""Series of DICOM files in a folder, read and put in order as the daemon does; only headers are read here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trainer.datasets.case import Unusable
from trainer.datasets.reading import HEAD_BYTES, dicom_head
from triage.dicom.header import read_header
from triage.dicom.slices import SeriesSlices, series_slices
from triage.domain.errors import TriageError
from triage.domain.study import InstanceHeader

_READERS = 4


@dataclass(frozen=True, slots=True)
class SliceFile:
    """A file of one slice and its header."""

    path: Path
    header: InstanceHeader


@dataclass(frozen=True, slots=True)
class Ordered:
    """Files from the feet up, their places in mm along the normal, and how the daemon lays the slices out."""

    files: tuple[SliceFile, ...]
    positions_mm: tuple[float, ...]
    slices: SeriesSlices


def read_headers(files: Sequence[Path]) -> tuple[list[SliceFile], list[Unusable]]:
    """Headers of files in the order given, and the files that are no whole slice."""
    read: list[SliceFile] = []
    unusable: list[Unusable] = []
    with ThreadPoolExecutor(_READERS) as readers:
        for path, found in zip(files, readers.map(_header, files), strict=True):
            if isinstance(found, str):
                unusable.append(Unusable(str(path), found))
            else:
                read.append(SliceFile(path, found))
    return read, unusable


def by_series(files: Iterable[SliceFile]) -> list[list[SliceFile]]:
    """The files of each series, in the order in which the series were met."""
    series: dict[str, list[SliceFile]] = {}
    for one in files:
        series.setdefault(one.header.series_instance_uid, []).append(one)
    return list(series.values())


def ordered(files: Sequence[SliceFile]) -> Ordered:
    """The slices of a series from the feet up.

    Raises
    ------
    ValueError
        The headers do not say where the slices lie, or two name the same instance.
    """
    by_uid = {one.header.sop_instance_uid: one for one in files}
    if len(by_uid) != len(files):
        raise ValueError("several files are the same instance")
    try:
        slices = series_slices([one.header for one in files])
    except TriageError as exc:
        raise ValueError(str(exc)) from exc
    if not slices.ordered:
        raise ValueError("its headers do not say one place and direction for each slice")
    places = slices.places if slices.from_below else slices.places[::-1]
    sign = 1.0 if slices.from_below else -1.0
    return Ordered(
        files=tuple(by_uid[place.source.sop_instance_uid] for place in places),
        positions_mm=tuple(sign * float(place.distance_mm or 0.0) for place in places),
        slices=slices,
    )


def _header(path: Path) -> InstanceHeader | str:
    """The header, or why the file is no whole slice."""
    try:
        head = dicom_head(path)
        if not head.has_pixels:
            return "it holds no pixels"
        if not head.complete:
            return "its pixel data are cut short"
        if head.frames > 1:
            return "it holds several frames, and a file of one slice is expected"
        with path.open("rb") as file:
            content = file.read(HEAD_BYTES)
            header = read_header(content)
            return header if header.has_pixel_data else read_header(content + file.read())
    except (OSError, ValueError, TriageError) as exc:
        return str(exc)
