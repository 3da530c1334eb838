"""Nothing is reported to the maker of ONNX Runtime: its telemetry leaves an identifier behind as soon as it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# What runs tests for others is spared by ONNX Runtime itself.
SPARED = ("CI", "ORT_DISABLE_TELEMETRY", "GITHUB_ACTIONS")
LOAD = """
import sys
{first}
import onnxruntime
from triage.entrypoints.app import shipped_bundle
for model in shipped_bundle().glob("*.onnx"):
    onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize("first", ["import triage.inference", "import trainer"])
def test_no_identifier_is_made(first: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in SPARED}
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(tmp_path))
    subprocess.run(
        [sys.executable, "-c", LOAD.format(first=first)],
        env={**environment, **places, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    assert list(tmp_path.rglob("*")) == []
