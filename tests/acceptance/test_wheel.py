"""Acceptance 9: the wheel works away from the checkout, with nothing of the project but itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out), cwd=ROOT)
    (built,) = out.glob("ich_triage-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel.

    Its requirements are those of this environment, reached by a path, so that nothing is downloaded twice;
    the project's own editable install is not reached: a path file does not read other path files.
    """
    environment = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(environment))
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel))
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


def run(*command: str | Path, cwd: Path | None = None, timeout: float = 280) -> str:
    """Standard output of a command that must succeed, without this checkout on its path."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TRIAGE_", "VIRTUAL_ENV"))}
    ran = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean,
        timeout=timeout,
        check=False,
    )
    assert ran.returncode == 0, f"{command[0]} ended with {ran.returncode}:\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    return ran.stdout


def test_the_wheel_carries_migrations_bundle_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert any(name.startswith("triage/migrations/versions/0001") for name in names)
    assert "triage/migrations/env.py" in names
    for bundle in ("demo", "demo-int8"):
        files = {name.removeprefix(f"triage/bundles/{bundle}/") for name in names if f"/bundles/{bundle}/" in name}
        assert files == {"bundle.json", "card.md", "munet.onnx", "slice_classifier.onnx", "SHA256SUMS"}
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert [name for name in names if name.startswith("trainer/protocols/")]
    pages = {
        "templates/base.html",
        "templates/login.html",
        "static/style.css",
        "static/htmx.min.js",
        "static/LICENCES.txt",
    }
    assert {f"triage/web/{page}" for page in pages} <= {*names}
    assert not [name for name in names if name.startswith(("tests/", "docs/", "deploy/", "migrations/"))]
    assert not [name for name in names if "__pycache__" in name]


def test_everything_of_the_project_comes_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = (
        "import triage, trainer; from triage.store.db import migrations_path;"
        "from triage.entrypoints.app import shipped_bundle;"
        "print(triage.__file__, trainer.__file__, migrations_path(), shipped_bundle(), sep='\\n')"
    )
    places = run(installed / "python", "-c", code, cwd=tmp_path).splitlines()
    assert len(places) == 4
    assert all(Path(place).is_relative_to(installed.parent) for place in places), places


def test_the_schema_is_made_and_the_bundle_is_whole(installed: Path, tmp_path: Path) -> None:
    assert "The database is at schema" in run(installed / "triage", "db", "upgrade", cwd=tmp_path)
    assert (tmp_path / "var" / "triage.db").is_file()
    assert json.loads(run(installed / "triage", "worklist", "--json", cwd=tmp_path)) == []
    told = run(installed / "triage", "bundle", "verify", cwd=tmp_path)
    assert "is whole" in told
    assert "DEMONSTRATION ONLY" in told
    code = "from triage.entrypoints.app import shipped_bundle; print(shipped_bundle().with_name('demo-int8'))"
    small = run(installed / "python", "-c", code, cwd=tmp_path).strip()
    smaller = run(installed / "triage", "bundle", "verify", small, cwd=tmp_path)
    assert "is whole" in smaller
    assert smaller != told


def test_the_demo_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    told = run(installed / "triage", "demo", "--once", cwd=tmp_path)
    assert "last instance to flag" in told
    (config,) = (tmp_path / "demo").glob("*/triage.toml")
    rows = json.loads(run(installed / "triage", "--config", config, "worklist", "--json", cwd=tmp_path))
    assert [row["status"] for row in rows] == ["suspected", "not_analysed", "not_suspected"]
    assert "whole" in run(installed / "triage", "--config", config, "audit", "verify", cwd=tmp_path)
