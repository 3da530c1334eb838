"""constraints.txt holds an exact version of everything that gets installed, and of nothing else."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line) for line in lines)
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def needed(root: str, extras: set[str]) -> set[str]:
    """Every distribution that ``root`` with these extras brings, installed here, itself not counted."""
    seen: set[tuple[str, str]] = set()
    ahead = [(root, extra) for extra in ("", *extras)]
    while ahead:
        name, extra = ahead.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                ahead += [(canonicalize_name(requirement.name), e) for e in ("", *requirement.extras)]
    return {name for name, _ in seen} - {root}


def test_everything_that_gets_installed_is_pinned() -> None:
    assert needed("ich-triage", {"cpu", "train", "test"}) - set(pins()) == set()


def test_nothing_else_is_pinned() -> None:
    building = needed("hatchling", set()) | {"hatchling", "editables"}
    brought = needed("ich-triage", {"cpu", "train", "test"}) | building
    assert set(pins()) - brought - {"onnxruntime-gpu"} == set(), "run make pins in an environment made by make test"


def test_what_is_installed_is_what_is_pinned() -> None:
    different = {
        name: (pinned, distribution(name).version)
        for name, pinned in pins().items()
        if name != "onnxruntime-gpu" and distribution(name).version.split("+")[0] != pinned
    }
    assert different == {}


def test_no_gpl_codec_comes_along() -> None:
    assert "pylibjpeg-libjpeg" not in pins()


def test_the_daemon_needs_no_torch() -> None:
    assert not {"torch", "onnx", "scipy"} & needed("ich-triage", {"cpu"})
