"""A settings file that shows every key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from triage.settings.groups import Group
from triage.settings.reading import Settings
from triage.settings.ways_out import DestinationSettings, NotifierSettings


def example_toml() -> str:
    """A settings file with every key at its default and its meaning as a comment."""
    lines = ["# ich-triage settings. Every key may also be given as TRIAGE_<GROUP>__<KEY> in the environment.", ""]
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, Group):
            lines += [f"# {_first_line(group)}", f"[{name}]", *_keys(group), ""]
    for name, way, example in (
        ("destinations", DestinationSettings, _EXAMPLE_DESTINATION),
        ("notify", NotifierSettings, _EXAMPLE_NOTIFIER),
    ):
        lines += [f"# {_first_line(way)}; repeat the block for more.", f"# [[{name}]]"]
        lines += [f"# {line}" for line in _keys(way, example)] + [""]
    return "\n".join(lines)


_EXAMPLE_DESTINATION = {"name": "pacs", "ae_title": "PACS", "host": "192.0.2.10", "port": 104}
_EXAMPLE_NOTIFIER = {"name": "ris", "kind": "hl7", "host": "192.0.2.11", "port": 2575}


def _first_line(group: type[BaseModel]) -> str:
    return (group.__doc__ or "").strip().splitlines()[0].rstrip(".")


def _keys(group: type[BaseModel], example: dict[str, Any] | None = None) -> list[str]:
    width = max(len(key) for key in group.model_fields)
    lines = []
    for key, field in group.model_fields.items():
        value = (example or {}).get(key, None if field.default is PydanticUndefined else field.default)
        # TOML has no null: a key without a default is shown switched off.
        text = f'# {key} = "..."' if value is None else f"{key:<{width}} = {_toml(value)}"
        lines.append(f"{text}  # {field.description}")
    return lines


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value)
