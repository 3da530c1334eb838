"""What the tests of ``deploy/`` share: the files as an installation lays them out, and the commands that they name."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from tests.conftest import unavailable
from tests.services import MissingProgramError, find_program
from trainer.cli import main as trainer
from triage.entrypoints.cli import triage

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
SYSTEMD = DEPLOY / "systemd"
PROGRAM = "/opt/ich-triage/current/bin/triage"


def program(name: str, package: str) -> str:
    """Path of a program; without it the test is skipped, and in CI it fails."""
    try:
        return find_program(name, package)
    except MissingProgramError as missing:
        unavailable(str(missing))


def not_allowed_here(message: str) -> None:
    """Skip the test where the machine itself lets nobody make a container: no package helps, in CI neither."""
    refused = r"(mount|unshare|mknod|chroot|clone|namespace)[^\n]*(not permitted|permission denied)|mounted with no"
    if re.search(refused, message, re.IGNORECASE):
        pytest.skip(f"this machine lets nobody make a container: {message.strip()[-300:]}")


def clean_debian() -> Path:
    """A tar file of a plain Debian 12, made once."""
    program("debootstrap", "debootstrap")
    if os.geteuid() != 0:
        unavailable("only root can make a Debian of its own")
    file = ROOT / "build" / "debian" / "bookworm.tar"
    file.parent.mkdir(parents=True, exist_ok=True)
    with (file.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run([ROOT / ".ci" / "clean-debian", file], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        not_allowed_here(made.stderr)
        unavailable(f"a plain Debian could not be made: {made.stderr[-500:]}")
    return file


def install(
    *make: str, destination: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a target of the Makefile below a folder, as an administrator does."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TRIAGE_", "VIRTUAL_ENV", "MAKE"))}
    return subprocess.run(
        ["make", *make, f"DESTDIR={destination}"],
        cwd=ROOT,
        env={**clean, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def subcommands(group: click.Group) -> dict[str, click.Command]:
    """The commands of a group by name, those too that are imported when they are asked for."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def stage_units(root: Path) -> None:
    """Lay the units out below ``root``, with a program where they look for it."""
    units = root / "etc" / "systemd" / "system"
    for file in [*SYSTEMD.glob("*.service"), *SYSTEMD.glob("*.target"), *SYSTEMD.glob("*.d/*.conf")]:
        place = units / file.relative_to(SYSTEMD)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    program = root / PROGRAM.lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    # What systemd itself brings, and our units lean on.
    for folder in ("usr/lib/systemd/system", "lib/systemd/system"):
        if Path("/", folder).is_dir() and not (root / folder).exists():
            (root / folder).parent.mkdir(parents=True, exist_ok=True)
            (root / folder).symlink_to(f"/{folder}")
    (root / "etc" / "passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nich-triage:x:990:990::/var/lib/ich-triage:/bin/false\n"
    )
    (root / "etc" / "group").write_text("root:x:0:\nich-triage:x:990:\n")


def why_not_a_command(words: list[str]) -> str | None:
    """What is wrong with a ``triage ...`` or ``trainer ...`` command line, or None."""
    command: click.Command = triage if words[0].endswith("triage") else trainer
    rest, taken = list(words[1:]), set()
    while rest:
        taken |= {name for parameter in command.params for name in parameter.opts} | {"--help", "--version"}
        word = rest.pop(0)
        if word.startswith("--"):
            name = word.split("=")[0]
            if name not in taken:
                return f"{name} is no option of {command.name}"
            option = next((p for p in command.params if name in p.opts), None)
            if isinstance(option, click.Option) and not option.is_flag and "=" not in word:
                value = rest.pop(0)
                if isinstance(option.type, click.Choice) and value not in (*option.type.choices, "ROLE"):
                    return f"{name} cannot be {value}"
        elif isinstance(command, click.Group):
            if word not in (known := subcommands(command)):
                return f"{command.name} has no command {word}"
            command = known[word]
    return None


def shell_commands(text: str) -> list[list[str]]:
    """The commands of a document's shell blocks, each as words, without sudo and variables before them."""
    lines = []
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;(?![^\"]*\")", line):
                words = shlex.split(part, comments=True)
                while words and (words[0] == "sudo" or re.fullmatch(r"[A-Z_]+=.*", words[0])):
                    words = words[1:]
                    if words[:1] == ["-u"]:
                        words = words[2:]
                if words:
                    lines.append(words)
    return lines
