"""Every path, command and target that the operator's guide and the files below ``deploy/`` name exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.deploy import DEPLOY, ROOT, shell_commands, why_not_a_command
from triage.entrypoints.cli import triage
from triage.entrypoints.supervisor import ROLES

GUIDE = ROOT / "docs" / "operator.md"
FILES = sorted(f for f in DEPLOY.rglob("*") if f.is_file() and "secrets" not in f.parts and f.name != ".gitignore")
COMMANDS = shell_commands(GUIDE.read_text())
MADE_BY_OTHERS = {
    "apt-get",
    "chown",
    "cp",
    "createdb",
    "createuser",
    "docker",
    "find",
    "git",
    "install",
    "ln",
    "podman",
    "tar",
    "cd",
}
MADE_BY_OTHERS |= {"dropdb", "journalctl", "mv", "pg_dump", "pg_restore", "pip", "python3", "rm", "systemctl", "umask"}
SERVER_PLACES = {
    "/etc/ich-triage",
    "/etc/logrotate.d/ich-triage",
    "/etc/systemd/system/ich-triage",
    "/etc/systemd/journald.conf",
    "/opt/ich-triage",
    "/usr/local/bin/triage",
    "/var/lib/ich-triage",
    "/var/lib/postgresql",
    "/var/log/ich-triage",
}
"""Where `make install` puts things, systemd's own file and the home of the account postgres; test_install.py looks
whether ours come to be there."""


def ours() -> list[list[str]]:
    """The documented command lines that run our programs, also inside a container."""
    found = []
    for words in COMMANDS:
        if "exec" in words:
            words = words[words.index("exec") + 2 :]
        if Path(words[0]).name in ("triage", "trainer"):
            found.append(words)
    return found


def test_the_guide_has_commands() -> None:
    assert len(COMMANDS) > 20
    assert len(ours()) > 6


@pytest.mark.parametrize("words", ours(), ids=" ".join)
def test_a_documented_command_exists(words: list[str]) -> None:
    before_output = words[: words.index(">")] if ">" in words else words
    assert why_not_a_command(before_output) is None


def test_a_documented_command_has_help() -> None:
    for words in ours():
        names = [word for word in words[1:] if word.isalpha()][
            : 2 if words[1] in ("user", "token", "db", "audit") else 1
        ]
        shown = CliRunner().invoke(triage, [*names, "--help"])
        assert shown.exit_code == 0, words
        assert f"Usage: triage {' '.join(names)}" in shown.output


def test_every_other_program_is_one_that_a_server_has() -> None:
    others = {words[0] for words in COMMANDS} - {"triage", "trainer", "make"}
    local = {name for name in others if "/" in name}
    assert others - local <= MADE_BY_OTHERS
    assert [name for name in local if not name.startswith("/") and not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("file", [GUIDE, ROOT / "Makefile", *FILES], ids=lambda file: file.name)
def test_files_of_the_repository_that_are_named_exist(file: Path) -> None:
    for name in re.findall(r"(?<![\w/.])(?:deploy|docs|\.ci|migrations)/[\w./-]*\w(?![\w$-])", file.read_text()):
        if "secrets" not in name:
            assert (ROOT / name).exists(), f"{file.name} names {name}"


@pytest.mark.parametrize("file", [GUIDE, *FILES], ids=lambda file: file.name)
def test_places_on_the_server_are_those_that_are_installed(file: Path) -> None:
    named = re.findall(r"(?<![\w.}$])/(?:etc|opt|usr/local|var)/[\w./-]*triage[\w./@-]*", file.read_text())
    for place in named:
        assert place.startswith(tuple(SERVER_PLACES)), f"{file.name} names {place}"


def test_units_that_are_named_exist() -> None:
    units = {f"ich-triage-{role}.service" for role in ROLES} | {"ich-triage.target", "ich-triage-.service"}
    text = "\n".join([GUIDE.read_text(), *(f.read_text() for f in FILES)])
    named = set(re.findall(r"\bich-triage[a-z-]*\.(?:service|target)\b", text))
    assert named - units == {"ich-triage.service"}, "the one service of earlier releases, which make install removes"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"install", "uninstall"} <= targets
    for words in COMMANDS:
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets


@pytest.mark.parametrize("script", [f for f in FILES if f.read_bytes()[:9] == b"#!/bin/sh"], ids=lambda f: f.name)
def test_scripts_can_be_read_by_a_shell(script: Path) -> None:
    assert subprocess.run(["sh", "-n", script], capture_output=True).returncode == 0
    assert "set -eu" in script.read_text()


def test_programs_are_executable() -> None:
    for name in ("install", "uninstall", "container/make-secrets", "container/triage.sh"):
        assert (DEPLOY / name).stat().st_mode & 0o111, name
