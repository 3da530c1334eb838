"""The systemd units: accepted by systemd itself, one for each role, and no more rights than a role needs."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.deploy import DEPLOY, PROGRAM, ROOT, SYSTEMD, program, stage_units, why_not_a_command
from triage.entrypoints.supervisor import EXIT_CONFIGURATION, ROLES, STOP_SECONDS

UNITS = sorted(SYSTEMD.glob("*.service"))
COMMON = (SYSTEMD / "ich-triage-.service.d" / "10-common.conf").read_text()
MOST_EXPOSED = 1.5
"""On the scale of ``systemd-analyze security``, where 10 is a service without any protection."""


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    stage_units(root)
    return root


def test_every_role_has_a_unit_and_every_unit_a_role() -> None:
    assert {unit.stem.removeprefix("ich-triage-") for unit in UNITS} == set(ROLES)
    installed = re.search(r'^roles="(.*)"$', (DEPLOY / "install").read_text(), re.MULTILINE)
    assert installed is not None
    assert set(installed[1].split()) == set(ROLES)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_its_role_as_the_command_line_has_it(unit: Path) -> None:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment]
    parsed.read_string(unit.read_text())
    words = shlex.split(parsed["Service"]["ExecStart"])
    role = unit.stem.removeprefix("ich-triage-")
    assert words == [PROGRAM, "--config", "/etc/ich-triage/triage.toml", "run", "--role", role, "--alone"]
    assert why_not_a_command(["triage", *words[1:]]) is None
    assert parsed["Install"]["WantedBy"] == "ich-triage.target"


def test_systemd_accepts_the_units(staged: Path) -> None:
    names = [f"{unit.name}" for unit in [*UNITS, SYSTEMD / "ich-triage.target"]]
    ran = run(program("systemd-analyze", "systemd"), "verify", f"--root={staged}", "--man=no", *names)
    ours = [line for line in (ran.stdout + ran.stderr).splitlines() if "ich-triage" in line]
    assert ran.returncode == 0, ran.stderr
    assert ours == []


@pytest.mark.parametrize(("document", "number"), [("operator.md", 3), ("destinations.md", 1)])
def test_systemd_accepts_the_documented_drop_ins(staged: Path, document: str, number: int) -> None:
    blocks = re.findall(r"```ini\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)
    assert len(blocks) == number
    for block in blocks:
        drop_in = staged / "etc" / "systemd" / "system" / "ich-triage-.service.d" / "20-ours.conf"
        drop_in.write_text(block)
        ran = run(program("systemd-analyze", "systemd"), "verify", f"--root={staged}", "--man=no", UNITS[0].name)
        drop_in.unlink()
        assert (ran.returncode, "ich-triage" in ran.stdout + ran.stderr) == (0, False), ran.stderr


def test_folders_that_systemd_opens_files_in_are_there_before_a_role_starts() -> None:
    """It opens what StandardError=append: names before it makes a LogsDirectory=: without the folder no role starts."""
    guide = (ROOT / "docs" / "operator.md").read_text()
    opened = {str(Path(file).parent) for file in re.findall(r"^StandardError=append:(\S+)$", guide, re.MULTILINE)}
    made = re.findall(r"^d (\S+)", (SYSTEMD / "ich-triage.tmpfiles").read_text(), re.MULTILINE)
    assert opened == {"/var/log/ich-triage"}
    assert opened < set(made)
    assert "LogsDirectory=" not in guide


def test_a_file_area_elsewhere_may_be_written_and_is_there() -> None:
    """ProtectSystem=strict closes everything but the state."""
    guide = (ROOT / "docs" / "operator.md").read_text()
    (block,) = (b for b in re.findall(r"```ini\n(.*?)```", guide, re.DOTALL) if "ReadWritePaths" in b)
    keys = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    place = Path(keys["ReadWritePaths"])
    assert keys["RequiresMountsFor"] == str(place)
    assert f'`storage.root = "{place}/blobs"`' in guide


def test_systemd_would_find_a_fault(staged: Path) -> None:
    """The check above can fail."""
    broken = staged / "etc" / "systemd" / "system" / "ich-triage-broken.service"
    broken.write_text("[Service]\nExecStart=/opt/ich-triage/no-such-program\nProtectSistem=strict\n")
    ran = run(program("systemd-analyze", "systemd"), "verify", f"--root={staged}", "--man=no", broken.name)
    broken.unlink()
    assert "no-such-program" in ran.stderr
    assert "ProtectSistem" in ran.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_role_has_few_rights(staged: Path, unit: Path) -> None:
    analyse = program("systemd-analyze", "systemd")
    offline = ["security", "--offline=true", f"--root={staged}", "--no-pager"]
    found = {row["json_field"]: row for row in json.loads(run(analyse, *offline, "--json=short", unit.name).stdout)}
    assert found["NoNewPrivileges"]["set"]
    assert found["UserOrDynamicUser"]["set"]
    ran = run(analyse, *offline, f"--threshold={MOST_EXPOSED * 10:.0f}", unit.name)
    assert ran.returncode == 0, ran.stdout[-4000:]


def test_the_units_agree_with_the_program() -> None:
    assert f"RestartPreventExitStatus={EXIT_CONFIGURATION}\n" in COMMON
    stop = re.search(r"^TimeoutStopSec=(\d+)$", COMMON, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > STOP_SECONDS
    assert "Restart=on-failure\n" in COMMON


def test_stopping_the_target_waits_for_its_roles() -> None:
    """Seen under systemd: without the order the command comes back while the roles still stop, and still write."""
    assert "PartOf=ich-triage.target\n" in COMMON
    assert re.search(r"^After=ich-triage\.target$", COMMON, re.MULTILINE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes accounts and folders, also below a folder")
def test_account_and_folders_are_made(tmp_path: Path) -> None:
    for kind in ("sysusers", "tmpfiles"):
        place = tmp_path / "etc" / f"{kind}.d" / "ich-triage.conf"
        place.parent.mkdir(parents=True)
        place.write_text((SYSTEMD / f"ich-triage.{kind}").read_text())
        tool = program(f"systemd-{kind}", "systemd")
        create = ["--create"] if kind == "tmpfiles" else []
        ran = run(tool, f"--root={tmp_path}/", *create, "ich-triage.conf")
        assert ran.returncode == 0, ran.stderr
    account = (tmp_path / "etc" / "passwd").read_text().split(":")
    assert account[0] == "ich-triage"
    assert account[-1].strip().endswith("nologin")
    uid = int(account[2])
    state, settings = tmp_path / "var" / "lib" / "ich-triage", tmp_path / "etc" / "ich-triage"
    assert (state.stat().st_uid, oct(state.stat().st_mode)) == (uid, "0o40750")
    assert (settings.stat().st_uid, oct(settings.stat().st_mode)) == (0, "0o40750")
    assert settings.stat().st_gid == state.stat().st_gid
    # Root's: systemd opens the files there before it gives up root's rights, and would follow a link of the daemon's.
    logs = tmp_path / "var" / "log" / "ich-triage"
    assert (logs.stat().st_uid, logs.stat().st_gid, oct(logs.stat().st_mode)) == (0, state.stat().st_gid, "0o40750")


def test_the_worker_on_a_gpu_names_the_libraries_where_they_lie() -> None:
    drop_in = (SYSTEMD / "cuda.conf").read_text()
    assert "DeviceAllow=char-nvidia-uvm rw" in drop_in
    container = (DEPLOY / "container" / "Containerfile.cuda").read_text()
    path = re.search(r"LD_LIBRARY_PATH=(\S+)", drop_in)
    assert path is not None
    assert path[1].replace("/current", "") in container
    folders = {part.split("/site-packages/")[1] for part in path[1].split(":")}
    assert folders == {"nvidia/cu13/lib", "nvidia/cudnn/lib"}


def test_logrotate_accepts_its_file(tmp_path: Path) -> None:
    rules = tmp_path / "logrotate"
    rules.write_text((DEPLOY / "logrotate").read_text().replace("/var/log/ich-triage", str(tmp_path / "log")))
    rules.chmod(0o644)
    log = tmp_path / "log" / "ich-triage-work.log"
    log.parent.mkdir(mode=0o750)  # as ich-triage.tmpfiles makes it
    log.write_text('{"event": "working"}\n')
    ran = run(program("logrotate", "logrotate"), "--force", "--state", tmp_path / "state", rules)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert log.read_text() == ""
    assert (tmp_path / "log" / "ich-triage-work.log.1").read_text() == '{"event": "working"}\n'
