"""The commands for accounts and tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.stores import logged
from tests.web import PASSWORD
from triage.domain.account import Person, Role
from triage.domain.audit import AuditAction
from triage.domain.errors import ConfigurationError, NotFound, StaleState
from triage.entrypoints.cli import triage
from triage.services.sign_in import person_of_token
from triage.store.db import Database

Run = Callable[..., Result]


@pytest.fixture
def run(sqlite_url: str, tmp_path: Path) -> Run:
    """Run a command on a database without accounts; what was typed is the input."""
    config = tmp_path / "triage.toml"
    config.write_text(f"[database]\nurl = {json.dumps(sqlite_url)}\n")

    def call(*words: str, typed: str = "", fails: type[Exception] | None = None) -> Result:
        result = CliRunner().invoke(triage, ["--config", str(config), *words], input=typed, standalone_mode=False)
        if fails is None and result.exception is not None:
            raise result.exception
        if fails is not None:
            assert isinstance(result.exception, fails), result.output
        return result

    return call


def users(run: Run) -> list[dict]:
    return json.loads(run("user", "list", "--json").stdout)


def test_there_is_no_account_until_one_is_added(run: Run) -> None:
    assert users(run) == []
    told = run("user", "add", "A.Smith", "--role", "radiologist", "--password-stdin", typed=f"{PASSWORD}\n").stdout
    assert "a.smith may sign in as radiologist" in told
    (user,) = users(run)
    assert (user["name"], user["role"], user["signs_in_by"], user["disabled_at"]) == (
        "a.smith", "radiologist", "password", None,
    )  # fmt: skip
    assert "argon2" not in run("user", "list", "--json").stdout


def test_the_password_is_asked_for_twice_and_not_shown(run: Run) -> None:
    told = run("user", "add", "rad", "--role", "radiologist", typed=f"{PASSWORD}\n{PASSWORD}\n").output
    assert PASSWORD not in told
    assert len(users(run)) == 1
    differs = run("user", "add", "rad2", "--role", "radiologist", typed=f"{PASSWORD}\nother\n", fails=Exception)
    assert "do not match" in differs.output


def test_there_is_no_way_to_put_a_password_into_the_list_of_processes(run: Run) -> None:
    told = run("user", "add", "--help").output
    assert "--password-stdin" in told
    assert "--password " not in told


@pytest.mark.parametrize(
    ("name", "typed", "error"),
    [
        ("rad", "short\n", ConfigurationError),
        ("rad", "", ConfigurationError),
        ("a/b", f"{PASSWORD}\n", ConfigurationError),
        ("worker", f"{PASSWORD}\n", ConfigurationError),
    ],
)
def test_what_cannot_be_is_one_sentence(run: Run, name: str, typed: str, error: type[Exception]) -> None:
    run("user", "add", name, "--role", "radiologist", "--password-stdin", typed=typed, fails=error)
    assert users(run) == []


def test_without_a_terminal_the_password_comes_by_standard_input(run: Run) -> None:
    ended = run("user", "add", "x", "--role", "radiologist", fails=click.ClickException)
    assert "without a terminal use --password-stdin" in str(ended.exception)


def test_an_account_through_its_life(run: Run, sqlite_url: str) -> None:
    add = ("user", "add", "boss", "--role", "administrator", "--password-stdin")
    run(*add, typed=f"{PASSWORD}\n")
    run(*add, typed=f"{PASSWORD}\n", fails=StaleState)
    run("user", "add", "rad", "--role", "radiologist", "--password-stdin", typed=f"{PASSWORD}\n")
    run("user", "role", "rad", "administrator")
    run("user", "password", "rad", "--password-stdin", typed="another sentence of words\n")
    run("user", "disable", "rad")
    assert [bool(user["disabled_at"]) for user in users(run)] == [False, True]
    assert "rad" in run("user", "list").stdout
    run("user", "enable", "rad")
    run("user", "disable", "nobody.here", fails=NotFound)
    db = Database(sqlite_url)
    changes = [record.event.detail["change"] for record in logged(db, AuditAction.ACCOUNT_CHANGED)]
    assert changes == ["made", "made", "role", "password", "disabled", "enabled"]
    db.dispose()


def test_a_token_is_shown_once(run: Run, sqlite_url: str) -> None:
    value = run("token", "add", "ris").stdout.strip().splitlines()[-1]
    assert len(value) >= 43
    assert value not in run("token", "list").stdout + run("token", "list", "--json").stdout
    db = Database(sqlite_url)
    assert person_of_token(db, value) == Person("service:ris", Role.SERVICE)
    run("token", "revoke", "ris")
    assert person_of_token(db, value) is None
    db.dispose()
    (token,) = json.loads(run("token", "list", "--json").stdout)
    assert token["revoked_at"]
    run("token", "revoke", "ris", fails=NotFound)


@pytest.mark.parametrize(
    "words",
    [
        ["user", "add"], ["user", "list"], ["user", "password"], ["user", "role"], ["user", "disable"],
        ["user", "enable"], ["token", "add"], ["token", "list"], ["token", "revoke"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_has_help_with_an_example(run: Run, words: list[str]) -> None:
    assert "Example:" in run(*words, "--help").output
