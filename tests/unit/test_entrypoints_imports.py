"""A process starts soon and stays small: it imports what it does, and no library of another role."""

import subprocess
import sys

import pytest

from triage.entrypoints.supervisor import ROLES

NETS, OBJECTS, PEERS, PAGES = "onnxruntime", "highdicom", "pynetdicom", "fastapi"
FOREIGN = {
    "listen": (NETS, OBJECTS, PAGES, "cv2"),
    "clock": (NETS, OBJECTS, PEERS, PAGES, "cv2"),
    "send": (NETS, OBJECTS, PAGES, "cv2"),
    "web": (NETS, OBJECTS, PEERS),
    "work": (PEERS, PAGES),
}


def imported(module: str) -> set[str]:
    """What a new process has loaded after importing a module."""
    script = f"import sys, {module}; print('\\n'.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return set(ran.stdout.split())


def test_every_role_is_held_to_this() -> None:
    assert set(FOREIGN) == set(ROLES)


@pytest.mark.parametrize("role", FOREIGN)
def test_a_role_loads_no_library_of_the_others(role: str) -> None:
    loaded = imported(ROLES[role].split(":")[0])
    assert "triage.entrypoints.app" in loaded
    assert not loaded & {*FOREIGN[role], "torch"}


def test_the_command_and_the_supervisor_load_none_of_them() -> None:
    assert not imported("triage.entrypoints.cli") & {NETS, OBJECTS, PEERS, PAGES, "cv2", "pydicom"}
