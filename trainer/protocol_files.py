"""Protocols as TOML files: one that comes with the trainer by its name, any other by its path."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_json

CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Of every part of a protocol: no key is passed over."""

Read = TypeVar("Read")


def shipped_protocols(folder: str) -> list[str]:
    """Names of the protocols in a folder of the trainer, as ``protocols/experiments``."""
    entries = resources.files("trainer").joinpath(folder).iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))


def read_protocol(adapter: TypeAdapter[Read], folder: str, name_or_path: str) -> Read:
    """Read a protocol of a folder of the trainer by its name, or any other by the path of its TOML file.

    Raises
    ------
    ValueError
        There is no such protocol, or a key is unknown, missing or impossible.
    """
    shipped = resources.files("trainer").joinpath(folder, f"{name_or_path}.toml")
    source = shipped if shipped.is_file() else Path(name_or_path)
    if not source.is_file():
        known = ", ".join(shipped_protocols(folder))
        raise ValueError(f"there is no protocol {name_or_path!r}: give one of {known}, or the path of a TOML file")
    try:
        # As JSON, whose objects and lists become what a strict part asks for.
        return adapter.validate_json(to_json(tomllib.loads(source.read_text(encoding="utf-8"))))
    except ValidationError as exc:
        faults = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in exc.errors()[:3]]
        raise ValueError(f"the protocol {name_or_path} is not valid: {'; '.join(faults)}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ValueError(f"the protocol {name_or_path} is no TOML: {exc}") from exc
