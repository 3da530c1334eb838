"""``trainer prepare``: a data set as it was downloaded becomes a cache; takes up again where it was stopped."""

from __future__ import annotations

import csv
import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from trainer.datasets import index
from trainer.datasets.arrays import allocate, bytes_needed, gigabytes
from trainer.datasets.cache import (
    DESCRIPTION,
    FORMAT,
    RECORDS,
    UNUSABLE,
    Cache,
    CacheSpec,
    Description,
    cache_digest,
    open_cache,
    write_description,
)
from trainer.datasets.case import Dataset
from trainer.datasets.index import Counts, PrepareIndex, StudyAnswer
from trainer.datasets.workers import in_processes
from trainer.datasets.writing import StudyWriter
from trainer.tell import Tell
from triage.inference.preprocess import PreprocessSpec

WORK = "work"
_TELL_SECONDS = 5.0
_KEEP_SECONDS = 1.0


def cache_spec(dataset: Dataset, size: int, geometry: str, pixel_mm: float) -> CacheSpec:
    """What the cache of a data set will hold.

    Raises
    ------
    ValueError
        Sizes out of range, or a raster in mm of pictures, which do not say how large their pixels are.
    """
    PreprocessSpec(size=size, pixel_mm=pixel_mm)
    if geometry == "raster":
        if dataset.pictures:
            raise ValueError(f"{dataset.name} holds pictures, which say no size in mm: use --geometry resize")
        return CacheSpec(dataset.name, size, "raster", pixel_mm)
    return CacheSpec(dataset.name, size, "resize", 1.0, dataset.pictures, dataset.window)


def prepare(dataset: Dataset, root: Path, out: Path, spec: CacheSpec, workers: int, tell: Tell) -> Cache:
    """Write the cache of a data set, or finish it.

    Parameters
    ----------
    root : Path
        The data set as its adapter expects it.
    out : Path
        Folder of the cache; its ``work`` holds the index that a later run takes up.
    workers : int
        Processes that read and shrink; 0 does it in this one.

    Raises
    ------
    ValueError
        The folder is not the data set, the disk is too small, ``out`` holds something else, or another run is at it.
    """
    work = out / WORK
    if out.is_dir() and not work.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty and was not made by trainer prepare; choose another folder")
    work.mkdir(parents=True, exist_ok=True)
    with _alone(work), closing(PrepareIndex(work / index.NAME)) as kept:
        _begin_or_go_on(kept, dataset, root.resolve(), out, spec)
        if (out / DESCRIPTION).is_file():
            tell(f"{out} is finished already")
            return open_cache(out)
        _find(kept, dataset, root.resolve(), work, tell)
        _make_room(kept, out, spec, tell)
        _write(kept, StudyWriter(dataset, out, spec), workers, tell)
        return _finish(kept, dataset, root.resolve(), out, spec)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Keep a second run out; the lock ends with its process, however that ends."""
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ValueError(f"another trainer prepare is writing to {work.parent}; wait for it, or stop it") from exc
        yield


def _begin_or_go_on(kept: PrepareIndex, dataset: Dataset, root: Path, out: Path, spec: CacheSpec) -> None:
    wanted = {"format": str(FORMAT), "root": str(root), "spec": json.dumps(asdict(spec), sort_keys=True)}
    said = {key: value for key, value in kept.plan().items() if key in wanted}
    if said and said != wanted:
        before = json.loads(said["spec"])
        raise ValueError(
            f"{out} was begun with {before['dataset']} from {said['root']}, size {before['size']}, "
            f"{before['geometry']}: repeat that, or choose another folder for {dataset.name} from {root}, "
            f"size {spec.size}, {spec.geometry}"
        )
    for key, value in wanted.items():
        kept.note(key, value)


def _find(kept: PrepareIndex, dataset: Dataset, root: Path, work: Path, tell: Tell) -> None:
    if index.FOUND in kept.plan():
        return
    tell(f"looking through {root}")
    try:
        kept.keep_found(dataset.find(root, work, tell))
    except (ValueError, OSError):
        kept.forget_plan()
        raise


def _make_room(kept: PrepareIndex, out: Path, spec: CacheSpec, tell: Tell) -> None:
    counts = kept.counts()
    needed = bytes_needed(spec, counts.slices, counts.outlined)
    tell(
        f"{counts.studies} studies of {counts.slices} slices, {counts.outlined} with a mask; "
        f"the cache takes {gigabytes(needed)} of disk"
    )
    if index.ALLOCATED not in kept.plan():
        allocate(out, spec, counts.slices, counts.outlined)
        kept.note(index.ALLOCATED, "yes")


def _write(kept: PrepareIndex, writer: StudyWriter, workers: int, tell: Tell) -> None:
    """Write what is not done. A study counts as done after its rows are on disk."""
    pace = _Pace(kept.counts())
    if pace.before.studies_done:
        tell(f"going on after {pace.before.studies_done} of {pace.before.studies} studies")
    fresh: list[StudyAnswer] = []
    kept_at = told_at = time.monotonic()
    for answer in in_processes(writer, kept.waiting(writer.dataset.name), workers):
        fresh.append(answer)
        pace.add(answer)
        now = time.monotonic()
        if now - kept_at >= _KEEP_SECONDS:
            kept.keep_answers(fresh)
            fresh, kept_at = [], now
        if now - told_at >= _TELL_SECONDS:
            tell(pace.line())
            told_at = now
    kept.keep_answers(fresh)
    if pace.slices:
        tell(pace.line())


@dataclass(slots=True)
class _Pace:
    """How fast this run is; what an earlier run did does not count."""

    before: Counts
    studies: int = 0
    slices: int = 0
    unusable: int = 0
    begun: float = field(default_factory=time.monotonic)

    def add(self, answer: StudyAnswer) -> None:
        """Count a study."""
        self.studies += 1
        self.slices += answer.slices
        self.unusable += len(answer.unusable)

    def line(self) -> str:
        """How far, how fast, how long still."""
        rate = self.slices / max(time.monotonic() - self.begun, 1e-6)
        done = self.before.slices_done + self.slices
        left = duration((self.before.slices - done) / rate)
        return (
            f"{done} of {self.before.slices} slices, {self.before.studies_done + self.studies} of "
            f"{self.before.studies} studies, {rate:.0f} slices/s, {left} left, "
            f"{self.before.unusable + self.unusable} unusable"
        )


def duration(seconds: float) -> str:
    """Seconds for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _finish(kept: PrepareIndex, dataset: Dataset, root: Path, out: Path, spec: CacheSpec) -> Cache:
    with (out / UNUSABLE).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["where", "reason"])
        rows.writerows((one.where.removeprefix(f"{root}/"), one.reason) for one in kept.unusable())
    counts = kept.counts()
    description = Description(
        spec=spec,
        patients=kept.patients(),
        studies=kept.studies(),
        slices=counts.slices,
        unusable=counts.unusable,
        lost=counts.lost,
        contradicted=counts.contradicted,
        digest=cache_digest(np.load(out / RECORDS, mmap_mode="r"), kept.digests()),
        licence=dataset.licence,
        root=str(root),
    )
    write_description(out, description)
    return open_cache(out)
