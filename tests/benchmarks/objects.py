"""Result objects of SYNTHETIC series of 512 x 512 with five subtypes: SEG and SR made, and kept by Orthanc; warm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.benchmarks.harness import Contender, Figures, Limit
from tests.benchmarks.load import peak_megabytes
from tests.builders import ct_series, part10
from tests.results import Analysed, analysed
from tests.services import OrthancServer
from triage.dicom.warm import warm_up
from triage.domain.encoded import EncodedObject
from triage.domain.finding import SUBTYPES
from triage.net.scu import OutgoingInstance, RemoteAe, send

USUAL, THIN = "30 slices", "300 thin slices"
SLICES = {USUAL: (30, 5.0), THIN: (300, 0.6)}
MADE, KEPT, ADDED = "s to make SEG and SR", "s to make and be acknowledged", "MB added by making"
LIMITS = (Limit(THIN, MADE, 5.0), Limit(THIN, ADDED, 400.0), Limit(USUAL, KEPT, 0.25))


def contenders() -> list[Contender]:
    """A usual series and one of thin slices, each in a process of its own."""
    return [Contender(USUAL, lambda: _in_a_process(USUAL)), Contender(THIN, lambda: _in_a_process(THIN))]


def _in_a_process(name: str) -> Figures:
    archive = OrthancServer()
    try:
        archive.start()
        command = [sys.executable, "-m", "tests.benchmarks.objects", name, archive.ae_title, str(archive.dicom_port)]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
    finally:
        archive.remove()
    figures: dict[str, float] = json.loads(ran.stdout)
    return figures


def _measure(name: str, remote: RemoteAe) -> Figures:
    """Memory is counted from what the analysis holds by then: the instances, the volume and its mask."""
    case = _case(*SLICES[name])
    warm_up()
    _forget_peak()
    held = peak_megabytes(os.getpid())
    started = time.perf_counter()
    segmentation = case.seg()
    objects = [segmentation, case.sr(segmentation=segmentation)]
    made = time.perf_counter()
    peak = peak_megabytes(os.getpid())
    outcomes = send(remote, [_outgoing(one) for one in objects])
    kept = time.perf_counter()
    if any(outcome.error for outcome in outcomes):
        raise RuntimeError(f"the archive refused an object: {next(o.error for o in outcomes if o.error)}")
    return {
        MADE: made - started,
        KEPT: kept - started,
        ADDED: peak - held,
        "MB of the whole process": peak,
        "MB sent": sum(len(one.content) for one in objects) / 1e6,
    }


def _case(slices: int, step_mm: float) -> Analysed:
    series = ct_series(slices, 512, 512, spacing_mm=0.45, thickness_mm=step_mm, step_mm=step_mm)
    case = analysed([part10(ds) for ds in series])
    labels = np.zeros_like(case.labels)
    for number in range(1, 1 + len(SUBTYPES)):
        # A block of each subtype on four slices of five: more than any patient has.
        labels[slices // 10 : -(slices // 10), 60 + 60 * number : 100 + 60 * number, 200:300] = number
    volumes = {
        subtype: replace(finding, volume_ml=case.volume.mask_ml(labels == number))
        for number, (subtype, finding) in enumerate(case.result.subtypes.items(), start=1)
    }
    total = case.volume.mask_ml(labels > 0)
    return replace(case, labels=labels, result=replace(case.result, subtypes=volumes, total_volume_ml=total))


def _outgoing(one: EncodedObject) -> OutgoingInstance:
    return OutgoingInstance(one.sop_class_uid, one.sop_instance_uid, one.transfer_syntax_uid, lambda: one.content)


def _forget_peak() -> None:
    """Let the kernel count the highest memory of this process from now on (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(sys.argv[1], RemoteAe(sys.argv[2], "127.0.0.1", int(sys.argv[3])))))
