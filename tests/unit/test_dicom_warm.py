"""Warming up leaves nothing to be loaded for the first patient."""

from __future__ import annotations

import json
import subprocess
import sys

from triage.dicom.warm import warm_up

LOADED_LATER = """
import json, sys
from triage.dicom.warm import warm_up
warm_up()
from tests.results import analysed
from triage.dicom.presentation_state import encode_presentation_state
from triage.dicom.secondary_capture import encode_secondary_capture
case = analysed()
before = set(sys.modules)
case.sr(segmentation=case.seg())
for encode in (encode_secondary_capture, encode_presentation_state):
    encode(case.contents, case.volume, case.labels, (4, 1), case.result, case.provenance)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_it_can_be_called_again() -> None:
    warm_up()
    warm_up()


def test_no_module_is_imported_for_the_first_patient() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADED_LATER], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == []
