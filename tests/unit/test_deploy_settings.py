"""The settings files below ``deploy/`` hold every key, and settings that can work."""

from __future__ import annotations

import tomllib
from pathlib import Path

from triage.settings import Settings, example_toml, read_settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

# Where a server keeps what a checkout keeps beside itself.
PLACES = {'"sqlite:///var/triage.db"': '"sqlite:////var/lib/ich-triage/triage.db"', '"var/': '"/var/lib/ich-triage/'}


def site_example() -> str:
    """``triage config --example`` with the places of an installed server."""
    text = example_toml()
    for here, there in PLACES.items():
        text = text.replace(here, there)
    return text


def test_the_example_of_a_site_has_every_key_with_its_meaning() -> None:
    written = (DEPLOY / "triage.toml").read_text()
    assert written == site_example(), f"deploy/triage.toml must be:\n{site_example()}"


def test_no_place_of_the_example_is_relative() -> None:
    for group in tomllib.loads(site_example()).values():
        for key, value in group.items():
            assert not str(value).startswith(("var/", "./")), key
            assert not str(value).startswith("sqlite:///var"), key


def test_the_example_is_as_safe_as_no_settings_at_all() -> None:
    settings, bare = read_settings(DEPLOY / "triage.toml"), Settings()
    apart = {"database", "storage"}
    assert settings.model_dump(exclude=apart) == bare.model_dump(exclude=apart)
    assert settings.listener.host == settings.web.host == "127.0.0.1"
    assert settings.storage.root == Path("/var/lib/ich-triage/blobs")
    assert settings.database.url == "sqlite:////var/lib/ich-triage/triage.db"


def test_the_settings_of_the_containers_can_work() -> None:
    settings = read_settings(DEPLOY / "container" / "triage.toml")
    assert settings.database.url == "postgresql://triage@database/triage"
    assert settings.listener.allowed_callers
    assert settings.web.secure(), "behind the proxy, cookies are for https only"
    assert settings.web.trusted_proxies
