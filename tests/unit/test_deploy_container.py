"""The container files: whole, pinned, without root, and true to the program and to each other."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.conftest import unavailable
from tests.deploy import DEPLOY, ROOT, program, why_not_a_command
from triage.entrypoints.supervisor import ROLES, STOP_SECONDS
from triage.settings import read_settings

FOLDER = DEPLOY / "container"
CONTAINERFILES = [FOLDER / "Containerfile", FOLDER / "Containerfile.cuda"]
SCHEMA_WHEEL = "docker-compose==1.29.2"
"""The last wheel that carries the schema of the Compose specification (``compose/config/compose_spec.json``)."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def compose_schema() -> dict[str, Any]:
    folder = ROOT / "build" / "compose-schema"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps", "-d", str(folder)]
    if not list(folder.glob("*.whl")):
        ran = subprocess.run([*pip, SCHEMA_WHEEL], capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            unavailable(f"the schema of compose files could not be fetched: {ran.stderr[-300:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        schema: dict[str, Any] = json.loads(archive.read("compose/config/compose_spec.json"))
    return schema


def instructions(containerfile: Path) -> list[tuple[str, str]]:
    """Each instruction of a Containerfile with its arguments on one line."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", containerfile.read_text()))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def test_the_compose_file_follows_the_specification(compose: dict[str, Any], compose_schema: dict[str, Any]) -> None:
    plain = {key: value for key, value in compose.items() if key != "name"}  # came after this edition
    jsonschema.Draft7Validator(compose_schema).validate(plain)


def test_the_schema_finds_a_fault(compose: dict[str, Any], compose_schema: dict[str, Any]) -> None:
    wrong = {"services": {"web": {**compose["services"]["web"], "port": ["80:80"]}}}
    with pytest.raises(jsonschema.ValidationError, match="port"):
        jsonschema.Draft7Validator(compose_schema).validate(wrong)


def test_every_role_has_a_service_and_its_command_exists(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {*ROLES, "database", "migrate", "proxy"}
    for role in ROLES:
        assert services[role]["command"] == ["run", "--role", role, "--alone"]
    for name in (*ROLES, "migrate"):
        assert why_not_a_command(["triage", *services[name]["command"]]) is None
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        assert int(services[name]["stop_grace_period"].rstrip("s")) > STOP_SECONDS


def test_no_role_starts_before_the_schema(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["migrate"]["command"] == ["db", "upgrade"]
    assert services["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    for role in ROLES:
        assert services[role]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}


def test_what_the_compose_file_names_is_there(compose: dict[str, Any], tmp_path: Path) -> None:
    subprocess.run([FOLDER / "make-secrets", tmp_path, "triage.example.org"], check=True, capture_output=True)
    for name, secret in compose["secrets"].items():
        assert (tmp_path / Path(secret["file"]).name).is_file(), name
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (FOLDER / source).is_file() if source.startswith(".") else source in compose["volumes"]
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert set(service["networks"]) <= set(compose["networks"])


def test_secrets_are_made_once_and_fit_each_other(tmp_path: Path) -> None:
    make = [FOLDER / "make-secrets", tmp_path / "secrets", "triage.example.org"]
    subprocess.run(make, check=True, capture_output=True)
    made = {file.name: file.read_bytes() for file in (tmp_path / "secrets").iterdir()}
    assert made["pgpass"] == b"database:5432:triage:triage:%s\n" % made["database_password"]
    assert len(made["database_password"]) >= 32
    assert {oct(file.stat().st_mode & 0o777) for file in (tmp_path / "secrets").iterdir()} == {"0o600"}
    if os.geteuid() == 0:
        assert (tmp_path / "secrets" / "pgpass").stat().st_uid == 10001
    subprocess.run(make, check=True, capture_output=True)
    assert {file.name: file.read_bytes() for file in (tmp_path / "secrets").iterdir()} == made
    assert "secrets/" in (FOLDER / ".gitignore").read_text().split()


def test_only_what_has_to_be_reached_is_reached(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert compose["networks"]["inside"]["internal"]
    assert {name for name, service in services.items() if "ports" in service} == {"listen", "proxy"}
    assert services["web"]["networks"] == services["database"]["networks"] == ["inside"]


def test_the_pages_trust_the_proxy_and_nobody_else(compose: dict[str, Any]) -> None:
    settings = read_settings(FOLDER / "triage.toml")
    (subnet,) = compose["networks"]["inside"]["ipam"]["config"]
    assert [ip_network(proxy) for proxy in settings.web.trusted_proxies] == [ip_network(subnet["subnet"])]
    assert compose["services"]["proxy"]["environment"]["SITE"] == settings.web.public_url
    assert f"web:{settings.web.port}" in (FOLDER / "Caddyfile").read_text()
    assert compose["services"]["listen"]["ports"] == [f"{settings.listener.port}:{settings.listener.port}"]


def test_images_are_pinned_by_tag(compose: dict[str, Any]) -> None:
    images = {service["image"] for service in compose["services"].values()}
    for file in CONTAINERFILES:
        images |= {arguments.split()[0] for name, arguments in instructions(file) if name == "FROM"}
    ours = {image for image in images if image.startswith("localhost/")}
    assert ours == {"localhost/ich-triage:latest"}
    for image in images - ours:
        assert re.fullmatch(r"docker\.io/[a-z/]+:[a-z]*-?[0-9][a-z0-9.-]+", image), image


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.name)
def test_what_is_copied_is_there_and_not_ignored(file: Path) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    for name, arguments in instructions(file):
        if name == "COPY" and not arguments.startswith("--from"):
            for source in shlex.split(arguments)[:-1]:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source, pattern) for pattern in let_in), f".dockerignore keeps {source} out"


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.name)
def test_nothing_runs_as_root(file: Path) -> None:
    users = [arguments for name, arguments in instructions(file) if name == "USER"]
    assert users[-1] == "10001:10001"


def test_the_image_starts_the_program_and_says_how_it_is() -> None:
    found = dict(instructions(CONTAINERFILES[0]))
    start = [*json.loads(found["ENTRYPOINT"]), *json.loads(found["CMD"])]
    assert start == ["triage", "run"]
    assert why_not_a_command(start) is None
    assert "/healthz" in found["HEALTHCHECK"]
    assert str(read_settings(FOLDER / "triage.toml").web.port) in found["HEALTHCHECK"]


def test_a_command_in_a_container_has_the_settings_of_the_image(tmp_path: Path) -> None:
    """``exec web triage ...`` passes the ENTRYPOINT by: what is found first in PATH has to name the settings."""
    found = [pair for file in CONTAINERFILES for pair in instructions(file)]
    (path,) = (words for name, value in found if name == "ENV" for words in re.findall(r"(?:^| )PATH=(\S+)", value))
    copied = {place: source for name, value in found if name == "COPY" for source, place in [value.split()[-2:]]}
    first = path.split(":")[0]
    command = (ROOT / copied[f"{first}/triage"]).read_text()
    assert (ROOT / copied[f"{first}/triage"]).stat().st_mode & 0o111

    program = tmp_path / "bin" / "triage"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    assert "/opt/ich-triage/bin/triage" in command
    (tmp_path / "triage").write_text(command.replace("/opt/ich-triage/bin", str(program.parent)))
    ran = subprocess.run(["sh", tmp_path / "triage", "user", "add", "a b"], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["--config", "/etc/ich-triage/triage.toml", "user", "add", "a b"]
    assert copied["/etc/ich-triage/triage.toml"] == "deploy/container/triage.toml"


def test_the_daemon_gets_the_versions_that_are_tested() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert "onnxruntime-gpu" in pins
    cuda = [line for line in (DEPLOY / "cuda.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"nvidia-[a-z0-9-]+==[0-9.]+", line) for line in cuda)
    for file in CONTAINERFILES:
        for _, arguments in (pair for pair in instructions(file) if "pip install" in pair[1]):
            assert "-c constraints.txt" in arguments
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"cpu", "gpu"} <= set(extras)


def test_the_proxy_accepts_its_configuration(tmp_path: Path) -> None:
    subprocess.run([FOLDER / "make-secrets", tmp_path, "triage.example.org"], check=True, capture_output=True)
    caddy = [program("caddy", "caddy"), "validate", "--adapter", "caddyfile", "--config", str(FOLDER / "Caddyfile")]
    files = {"TLS_CERTIFICATE": str(tmp_path / "tls_certificate"), "TLS_KEY": str(tmp_path / "tls_key")}
    environment = {**os.environ, **files, "SITE": "https://triage.example.org", "HOME": str(tmp_path)}
    ran = subprocess.run(caddy, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
