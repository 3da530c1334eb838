"""Installing as an administrator does it: on a server that systemd runs, and into a folder to look at."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import BOOT_SECONDS, debian_server
from tests.deploy import DEPLOY, install
from tests.migration.test_release_before import documented
from tests.services import free_port
from triage.domain.errors import TriageError
from triage.entrypoints.demo import SEED
from triage.entrypoints.supervisor import EXIT_CONFIGURATION, ROLES
from triage.net.scu import RemoteAe, echo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account may enter: those of the tests are root's."""
    made = Path(tempfile.mkdtemp(prefix="ich-install-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def settings_with_ports(listener: int, web: int) -> str:
    """The example of a site, on ports that nobody else has."""
    text = (DEPLOY / "triage.toml").read_text()
    text, one = re.subn(r"(?m)^(port +)= 11112\b", rf"\g<1>= {listener}", text)
    text, two = re.subn(r"(?m)^(port +)= 8080\b", rf"\g<1>= {web}", text)
    assert (one, two) == (1, 1)
    return text


@needs_root
def test_the_daemon_runs_from_what_was_installed_into_a_folder(folder: Path, tmp_path: Path) -> None:
    done = install("install", destination=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "systemctl enable --now ich-triage.target" in done.stdout
    settings = folder / "etc/ich-triage/triage.toml"
    assert settings.read_text() == (DEPLOY / "triage.toml").read_text()
    assert (folder / "usr/local/bin/triage").stat().st_mode & 0o777 == 0o755

    account = dict(zip(("name", "_", "uid", "gid"), (folder / "etc/passwd").read_text().split(":"), strict=False))
    state = folder / "var/lib/ich-triage"
    assert state.stat().st_uid == int(account["uid"])
    listener, web = free_port(), free_port()
    settings.write_text(settings_with_ports(listener, web))
    places = {"TRIAGE_DATABASE__URL": f"sqlite:///{state}/triage.db", "TRIAGE_STORAGE__ROOT": f"{state}/blobs"}

    def as_daemon(*words: str) -> subprocess.Popen[bytes]:
        """Start a command as the unit does: account, folder, settings."""
        here = [word.replace("/opt/", f"{folder}/opt/").replace("/etc/", f"{folder}/etc/") for word in words]
        who = ["setpriv", "--reuid", account["uid"], "--regid", account["gid"], "--clear-groups", "--no-new-privs"]
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(
                [*who, *here],
                env={"PATH": os.environ["PATH"], "TMPDIR": str(state), **places},
                cwd=state,
                umask=0o027,
                stderr=log,
            )

    units = {role: (folder / f"etc/systemd/system/ich-triage-{role}.service").read_text() for role in ROLES}
    starts = {role: shlex.split(re.findall(r"(?m)^ExecStart=(.*)$", unit)[0]) for role, unit in units.items()}
    program = starts["listen"][:3]
    assert as_daemon(*starts["listen"]).wait(60) == EXIT_CONFIGURATION, "there is no schema yet"
    assert as_daemon(*program, "db", "upgrade").wait(60) == 0
    running = [as_daemon(*words) for words in starts.values()]
    try:
        _wait(lambda: _answers(listener, web), "an answer", tmp_path / "log")
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/readyz", timeout=10) as answer:
            assert answer.read() == b"ready\n"
        assert {file.stat().st_uid for file in state.rglob("*")} == {int(account["uid"])}
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(60) for process in running]
    assert codes == [0] * len(ROLES), (tmp_path / "log").read_text()[-3000:]

    before = (folder / "opt/ich-triage/current").readlink()
    settings.write_text("[nonsense]\n")
    refused = install("install", destination=folder)
    assert refused.returncode != 0
    assert "nothing was changed; correct /etc/ich-triage/triage.toml" in refused.stderr
    assert settings.read_text() == "[nonsense]\n"
    assert (folder / "opt/ich-triage/current").readlink() == before
    assert [f"releases/{release.name}" for release in (folder / "opt/ich-triage/releases").iterdir()] == [str(before)]

    gone = install("uninstall", destination=folder)
    assert gone.returncode == 0, gone.stderr
    ours = {str(f.relative_to(folder)) for f in folder.rglob("*") if "triage" in f.name and "var/lib" not in str(f)}
    assert ours == {"etc/ich-triage", "etc/ich-triage/triage.toml"}
    assert (state / "triage.db").exists()


def test_only_root_installs(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root shows this by becoming somebody else")
    ran = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", "/bin/sh", DEPLOY / "install"], capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "sudo make install" in ran.stderr or "Permission denied" in ran.stderr


def _answers(listener: int, web: int) -> bool:
    try:
        echo(RemoteAe("ICHTRIAGE", "127.0.0.1", listener))
        urllib.request.urlopen(f"http://127.0.0.1:{web}/healthz", timeout=5).close()
    except (TriageError, OSError):
        return False
    return True


def _wait(ready, what: str, log: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"no {what}: {log.read_text()[-3000:]}"
        time.sleep(0.3)


TASK = """
set -x
cd /src
by_and_by() {{
    tries=0
    until "$@" >/dev/null 2>&1 || [ $tries -ge 90 ]; do
        sleep 1
        tries=$((tries+1))
    done
}}
ready() {{
    python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:{web}/readyz')"
}}
final() {{
    rows=$(triage worklist --json)
    echo "$rows" | grep -q '"status": "suspected"' && echo "$rows" | grep -q '"provisional": false'
}}
started_again() {{
    [ "$(systemctl show -p NRestarts --value ich-triage-work.service)" = 1 ]
}}
fact install make install
fact account id ich-triage
by_and_by ready
fact roles systemctl is-active {units}
fact enabled systemctl is-enabled ich-triage.target
ready
fact ready echo $?
echo 'a pass phrase that is long' | fact person triage user add a.smith --role administrator --password-stdin
fact heads /opt/ich-triage/current/bin/trainer phantom /var/tmp/heads --studies 1 --status suspected --seed {seed}
chmod -R a+rX /var/tmp/heads
fact send triage send /var/tmp/heads --to ICHTRIAGE@127.0.0.1:{listener}
by_and_by final
fact worklist triage worklist --json
for role in {roles}; do
    fact "process $role" grep -E '^(Uid|NoNewPrivs|Seccomp|CapEff):' \
        "/proc/$(systemctl show -p MainPID --value "ich-triage-$role.service")/status"
done
systemctl kill -s KILL ich-triage-work.service
by_and_by started_again
by_and_by systemctl is-active ich-triage-work.service
fact killed systemctl show -p NRestarts,ActiveState --value ich-triage-work.service
echo '[nonsense]' >>/etc/ich-triage/triage.toml
systemctl restart ich-triage-listen.service
by_and_by systemctl is-failed ich-triage-listen.service
fact refused systemctl show -p NRestarts,ExecMainStatus,ActiveState --value ich-triage-listen.service
sed -i /nonsense/d /etc/ich-triage/triage.toml
fact again make install
by_and_by ready
fact upgraded systemctl is-active {units}
fact settings cat /etc/ich-triage/triage.toml
fact releases ls /opt/ich-triage/releases
fact current readlink /opt/ich-triage/current
fact previous readlink /opt/ich-triage/previous
systemctl stop ich-triage.target
fact stopped systemctl is-active {units}
systemctl start ich-triage.target
{roll_back}
by_and_by ready
fact back readlink /opt/ich-triage/current
fact rolled systemctl is-active {units}
fact rows triage worklist --json
fact whole triage audit verify
fact files find /var/lib/ich-triage -not -user ich-triage -o -name '.cache' -o -name '.ses'
fact uninstall make uninstall
fact gone systemctl list-units --all --no-legend 'ich-triage*'
fact log journalctl -u 'ich-triage*' --no-pager -n 40
"""


@needs_root
def test_a_plain_debian_server_runs_it_under_systemd() -> None:
    """All of the operator's guide that systemd has a part in, by a systemd that is the first process of a server."""
    listener, web = free_port(), free_port()
    units = " ".join(f"ich-triage-{role}.service" for role in ROLES)
    roll_back = "\n".join(line.replace("sudo ", "") for line in documented("Roll back"))
    task = TASK.format(listener=listener, web=web, units=units, roles=" ".join(ROLES), roll_back=roll_back, seed=SEED)
    with debian_server("systemd", "systemd-sysv", "make", "python3", "ca-certificates") as server:
        if "up" not in server.run("fact up true\n", BOOT_SECONDS):
            pytest.skip("this machine lets no systemd boot in a container; no package helps")
        server.write("/etc/ich-triage/triage.toml", settings_with_ports(listener, web))
        facts = server.run(task, 1200)
        log = server.log()

    def said(name: str) -> str:
        assert name in facts, f"the script did not get there: {log}"
        return facts[name][1]

    def succeeded(*names: str) -> None:
        assert {name: facts[name] for name in names if facts[name][0] != 0} == {}, log

    every = ["active"] * len(ROLES)
    succeeded("install", "account", "person", "heads", "send", "worklist", "again", "whole", "uninstall")
    assert said("roles").split() == every, said("log")
    assert (said("enabled"), said("ready")) == ("enabled", "0")
    (row,) = json.loads(said("worklist"))
    assert row["status"] == "suspected"
    for role in ROLES:
        status = dict(line.split(":", 1) for line in said(f"process {role}").splitlines())
        assert "0" not in status["Uid"].split()
        assert status["NoNewPrivs"].strip() == "1"
        assert status["Seccomp"].strip() == "2"
        assert set(status["CapEff"].strip()) == {"0"}
    assert said("killed").split() == ["1", "active"]
    assert said("refused").split() == ["0", str(EXIT_CONFIGURATION), "failed"]
    assert said("upgraded").split() == every
    assert said("settings") == settings_with_ports(listener, web).strip(), "settings are never overwritten"
    assert len(said("releases").split()) == 2
    assert said("stopped").split() == ["inactive"] * len(ROLES)
    assert said("back") == said("previous") != said("current")
    assert said("rolled").split() == every
    assert json.loads(said("rows")) == [row]
    assert said("files") == ""
    assert said("gone") == ""
