"""constraints.txt holds an exact version of everything that gets installed, and of nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line) for line in lines)
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def project_requirements(*extras: str) -> list[str]:
    """What pyproject.toml asks for, for the daemon and for some of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]


def brought_by(requirements: Iterable[str]) -> set[str]:
    """Every distribution that these requirements bring, as installed here."""
    seen: set[tuple[str, str]] = set()
    ahead = [(text, "") for text in requirements]
    while ahead:
        text, wanted_by = ahead.pop()
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": wanted_by}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            ahead += [(further, extra) for further in distribution(name).requires or []]
    return {name for name, _ in seen}


def test_everything_that_gets_installed_is_pinned() -> None:
    assert brought_by(project_requirements("cpu", "train", "test")) - set(pins()) == set()


def test_nothing_else_is_pinned() -> None:
    brought = brought_by(project_requirements("cpu", "train", "test"))
    assert set(pins()) - brought - {"onnxruntime-gpu"} == set(), "run make pins in an environment made by make test"


def test_what_is_installed_is_what_is_pinned() -> None:
    different = {
        name: (pinned, distribution(name).version)
        for name, pinned in pins().items()
        if name != "onnxruntime-gpu" and distribution(name).version.split("+")[0] != pinned
    }
    assert different == {}


def test_the_wheel_is_built_with_the_version_that_is_pinned() -> None:
    (needed,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert needed == f"hatchling=={pins()['hatchling']}"


def test_no_gpl_codec_comes_along() -> None:
    assert "pylibjpeg-libjpeg" not in pins()


def test_the_daemon_needs_no_torch() -> None:
    assert not {"torch", "onnx", "scipy"} & brought_by(project_requirements("cpu"))
