"""Commands for accounts: who may sign in on the pages, and which services may ask."""

from __future__ import annotations

import getpass
import sys
from datetime import datetime
from pathlib import Path
from typing import TypedDict

import click

from triage.domain.account import Role
from triage.entrypoints import present
from triage.entrypoints.app import build, utc_now
from triage.services import people
from triage.services.passwords import LONGEST, Passwords
from triage.settings import read_settings
from triage.store.accounts import Token, User
from triage.store.db import Database

ROLE = click.Choice([role.value for role in people.USER_ROLES])
FROM_STDIN = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def user() -> None:
    """Look after the people who may sign in. There is no account until you add one."""


@user.command("add", epilog="Example: triage user add a.smith --role radiologist")
@click.argument("name")
@click.option("--role", type=ROLE, required=True, help="An administrator may do all that a radiologist may.")
@FROM_STDIN
@click.pass_obj
def user_add(config: Path | None, name: str, role: str, password_stdin: bool) -> None:
    """Make an account; its password is asked for."""
    db, signed = _opened(config)
    checked = people.checked_name(name)
    made = people.add_user(db, Passwords(), checked, Role(role), _password(password_stdin), **signed)
    click.echo(f"{made.name} may sign in as {made.role.value}.")


@user.command("list", epilog="Example: triage user list")
@AS_JSON
@click.pass_obj
def user_list(config: Path | None, as_json: bool) -> None:
    """Show every account."""
    users, _ = people.everybody(build(read_settings(config)).db)
    if as_json:
        present.print_json([_user_json(one) for one in users])
    else:
        rows = [[str(value or "") for value in _user_json(one).values()] for one in users]
        present.console().print(
            present.plain_table("Users", ("name", "role", "signs in by", "since", "disabled"), rows)
        )


@user.command("password", epilog="Example: triage user password a.smith")
@click.argument("name")
@FROM_STDIN
@click.pass_obj
def user_password(config: Path | None, name: str, password_stdin: bool) -> None:
    """Give an account another password, and end its sessions."""
    db, signed = _opened(config)
    people.set_password(db, Passwords(), name, _password(password_stdin), **signed)
    click.echo(f"{name} has another password; sessions with the old one are ended.")


@user.command("role", epilog="Example: triage user role a.smith administrator")
@click.argument("name")
@click.argument("role", type=ROLE)
@click.pass_obj
def user_role(config: Path | None, name: str, role: str) -> None:
    """Change what an account may do."""
    db, signed = _opened(config)
    people.set_role(db, name, Role(role), **signed)
    click.echo(f"{name} is {role} now.")


@user.command("disable", epilog="Example: triage user disable a.smith")
@click.argument("name")
@click.pass_obj
def user_disable(config: Path | None, name: str) -> None:
    """Let an account in no more, at once. It stays on record: the audit log names it."""
    db, signed = _opened(config)
    people.disable(db, name, **signed)
    click.echo(f"{name} may not sign in any more.")


@user.command("enable", epilog="Example: triage user enable a.smith")
@click.argument("name")
@click.pass_obj
def user_enable(config: Path | None, name: str) -> None:
    """Let a disabled account in again."""
    db, signed = _opened(config)
    people.enable(db, name, **signed)
    click.echo(f"{name} may sign in again.")


@click.group()
def token() -> None:
    """Look after the tokens by which services read the JSON interface."""


@token.command("add", epilog="Example: triage token add ris")
@click.argument("name")
@click.pass_obj
def token_add(config: Path | None, name: str) -> None:
    """Make a token and print it; it is shown this once."""
    db, signed = _opened(config)
    value = people.add_token(db, name, **signed)
    click.echo("Send it as Authorization: Bearer TOKEN. It is shown only now:", err=True)
    click.echo(value)


@token.command("list", epilog="Example: triage token list")
@AS_JSON
@click.pass_obj
def token_list(config: Path | None, as_json: bool) -> None:
    """Show every token, without its value."""
    _, tokens = people.everybody(build(read_settings(config)).db)
    if as_json:
        present.print_json([_token_json(one) for one in tokens])
    else:
        rows = [[str(value or "") for value in _token_json(one).values()] for one in tokens]
        present.console().print(present.plain_table("Tokens", ("name", "since", "revoked"), rows))


@token.command("revoke", epilog="Example: triage token revoke ris")
@click.argument("name")
@click.pass_obj
def token_revoke(config: Path | None, name: str) -> None:
    """Make a token worthless, at once."""
    db, signed = _opened(config)
    people.revoke_token(db, name, **signed)
    click.echo(f"The token {name} is worthless now.")


class _Signed(TypedDict):
    """Who makes a change on this machine, and when: what the audit log says of it."""

    by: str
    now: datetime


def _opened(config: Path | None) -> tuple[Database, _Signed]:
    return build(read_settings(config)).db, {"by": getpass.getuser(), "now": utc_now()}


def _password(from_stdin: bool) -> str:
    """Never an argument: those stand in the shell's history and in the list of processes."""
    if from_stdin:
        return sys.stdin.readline(LONGEST + 2).rstrip("\r\n")
    try:
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    except click.Abort as exc:
        raise click.ClickException("No password was given; without a terminal use --password-stdin.") from exc
    return asked


def _user_json(one: User) -> dict[str, str | None]:
    ways = [way for way, has in (("password", one.password_hash), ("OpenID Connect", one.subject)) if has]
    return {
        "name": one.name,
        "role": one.role.value,
        "signs_in_by": " or ".join(ways) or None,
        "created_at": one.created_at.isoformat(timespec="seconds"),
        "disabled_at": one.disabled_at.isoformat(timespec="seconds") if one.disabled_at else None,
    }


def _token_json(one: Token) -> dict[str, str | None]:
    return {
        "name": one.name,
        "created_at": one.created_at.isoformat(timespec="seconds"),
        "revoked_at": one.revoked_at.isoformat(timespec="seconds") if one.revoked_at else None,
    }
