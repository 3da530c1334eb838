"""``deploy/install`` and the ``triage`` command of a server, with a small program in place of the release."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy import DEPLOY, ROOT
from triage.entrypoints.supervisor import EXIT_CONFIGURATION

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")

# A release that notes what pip is asked for, and a program that says whom it runs as.
MAKE_VENV = r"""#!/bin/sh
mkdir -p "$2/bin" "$2/lib/python3.12"
cat >"$2/bin/python" <<'END'
#!/bin/sh
echo "$@" >>"$PIP_LOG"
END
cat >"$2/bin/triage" <<'END'
#!/bin/sh
echo "uid $(id -u) home $HOME" >&2
exit "$CONFIG_STATUS"
END
chmod +x "$2/bin/python" "$2/bin/triage"
"""


@dataclass(frozen=True)
class Checkout:
    """A checkout whose releases are made at once, and the folder that they are installed into."""

    folder: Path

    @property
    def server(self) -> Path:
        """What would be ``/``."""
        return self.folder / "server"

    @property
    def gpu_drop_in(self) -> Path:
        return self.server / "etc/systemd/system/ich-triage-work.service.d/20-cuda.conf"

    def make(
        self, *variables: str, config_status: int = 0, umask: int = 0o022, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """``make install``, as an administrator with these variables and this umask calls it."""
        for release in self.server.glob("opt/ich-triage/releases/*"):
            release.rename(release.with_name("before"))  # the name of a release is the second in which it was made
        log = self.folder / "pip.log"
        log.unlink(missing_ok=True)
        clean = {name: os.environ[name] for name in ("PATH", "HOME")}
        return subprocess.run(
            ["make", "install", f"DESTDIR={self.server}", *variables],
            cwd=self.folder,
            env={**clean, "PIP_LOG": str(log), "CONFIG_STATUS": str(config_status), **environment},
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )

    def with_gpu(self) -> bool:
        """Whether what was installed last is for a GPU: the unit, and the packages."""
        packages = "onnxruntime-gpu" if "[gpu," in (self.folder / "pip.log").read_text() else "onnxruntime"
        assert self.gpu_drop_in.exists() is (packages == "onnxruntime-gpu")
        return self.gpu_drop_in.exists()


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    # Every account may enter it: folders of the tests are root's.
    folder = Path(tempfile.mkdtemp(prefix="ich-checkout-", dir="/var/tmp"))
    folder.chmod(0o755)
    shutil.copytree(DEPLOY, folder / "deploy", ignore=shutil.ignore_patterns("secrets"))
    shutil.copy(ROOT / "Makefile", folder)
    (folder / ".ci").mkdir()
    (folder / ".ci" / "make-venv").write_text(MAKE_VENV)
    (folder / ".ci" / "make-venv").chmod(0o755)
    yield Checkout(folder)
    shutil.rmtree(folder)


@needs_root
@pytest.mark.parametrize(
    ("before", "variables", "expected"),
    [
        (False, [], False),
        (False, ["CUDA=1"], True),
        (True, [], True),
        (True, ["CUDA=1"], True),
        (True, ["CUDA="], False),
        (True, ["CUDA=0"], False),
        (True, ["CUDA=no"], False),
        (False, ["CUDA=0"], False),
    ],
)
def test_an_upgrade_keeps_the_gpu_until_it_is_told_otherwise(
    checkout: Checkout, before: bool, variables: list[str], expected: bool
) -> None:
    if before:
        done = checkout.make("CUDA=1")
        assert done.returncode == 0, done.stderr
        assert checkout.with_gpu()
    done = checkout.make(*variables)
    assert done.returncode == 0, done.stderr
    assert checkout.with_gpu() is expected
    assert ("CUDA=0" in done.stdout) is (expected and not variables), "what is kept is said, and how to be rid of it"


@needs_root
@pytest.mark.parametrize("cuda", ["0", "1"])
def test_what_a_bucket_needs_comes_along(checkout: Checkout, cuda: str) -> None:
    assert checkout.make(f"CUDA={cuda}").returncode == 0
    assert ",s3]" in (checkout.folder / "pip.log").read_text()


@needs_root
def test_the_gpu_may_be_asked_for_in_the_environment(checkout: Checkout) -> None:
    assert checkout.make(CUDA="1").returncode == 0
    assert checkout.with_gpu()
    assert "python3.12" in checkout.gpu_drop_in.read_text()
    assert checkout.make(CUDA="").returncode == 0
    assert not checkout.with_gpu()


@needs_root
def test_the_account_may_enter_what_a_root_with_a_hard_umask_installs(checkout: Checkout) -> None:
    done = checkout.make(umask=0o077)
    assert done.returncode == 0, done.stderr
    uid = next(line for line in done.stderr.splitlines() if line.startswith("uid ")).split()[1]
    assert uid != "0"
    for folder in ("opt", "opt/ich-triage", "opt/ich-triage/releases", "etc/systemd/system/ich-triage-.service.d"):
        assert oct((checkout.server / folder).stat().st_mode & 0o777) == "0o755"


@needs_root
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (EXIT_CONFIGURATION, "nothing was changed; correct /etc/ich-triage/triage.toml"),
        (1, "nothing was changed; the new release does not run as the account ich-triage (exit status 1)"),
        (126, "nothing was changed; the new release does not run as the account ich-triage (exit status 126)"),
    ],
)
def test_the_settings_are_blamed_for_what_they_did(checkout: Checkout, status: int, said: str) -> None:
    done = checkout.make(config_status=status)
    assert done.returncode != 0
    assert f"install: {said}" in done.stderr.splitlines()
    assert not (checkout.server / "opt/ich-triage/current").exists()
    assert not list((checkout.server / "opt/ich-triage/releases").iterdir())


@needs_root
def test_what_is_installed_finds_the_password_of_the_database(checkout: Checkout) -> None:
    """libpq looks for ``.pgpass`` in HOME, which setpriv leaves as it was: that of root."""
    done = checkout.make()
    assert f" home {checkout.server}/var/lib/ich-triage\n" in done.stderr


@needs_root
def test_the_command_of_the_server_has_the_home_and_the_settings_of_the_account(tmp_path: Path) -> None:
    programs = {"setpriv": 'printf "%s\\n" "$HOME" "$LOGNAME" "$@"'}
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": "/root", "SUDO_USER": "a.smith"}
    ran = subprocess.run(
        ["sh", DEPLOY / "triage.sh", "worklist", "--json"], env=environment, capture_output=True, text=True, check=True
    )
    home, person, *words = ran.stdout.splitlines()
    assert (home, person) == ("/var/lib/ich-triage", "a.smith")
    assert words[:2] == ["--reuid", "ich-triage"]
    assert words[-4:] == ["--config", "/etc/ich-triage/triage.toml", "worklist", "--json"]


@needs_root
@pytest.mark.parametrize("kept", [False, True])
def test_log_files_stay_and_their_folder_with_them(checkout: Checkout, kept: bool) -> None:
    assert checkout.make().returncode == 0
    logs = checkout.server / "var/log/ich-triage"
    assert logs.is_dir()
    if kept:
        (logs / "ich-triage-work.log").write_text("{}\n")
    gone = subprocess.run(["make", "uninstall", f"DESTDIR={checkout.server}"], cwd=checkout.folder, capture_output=True)
    assert gone.returncode == 0
    assert logs.exists() is kept
