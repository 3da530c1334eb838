"""All settings together: one TOML file, every key also as ``TRIAGE_<GROUP>__<KEY>``. Read once, at start."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from triage.domain.errors import ConfigurationError
from triage.settings.audit import AuditSettings
from triage.settings.groups import (
    DatabaseSettings,
    InferenceSettings,
    ListenerSettings,
    SeriesSettings,
    StorageSettings,
)
from triage.settings.ways_out import DestinationSettings, NotifierSettings
from triage.settings.web import WebSettings
from triage.store.db import without_secrets

DEFAULT_FILE = Path("triage.toml")


class _Environment(EnvSettingsSource):
    """The variables of the environment; one that cannot be read is named."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Read a list or a whole group, which are written as JSON."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError as exc:
            named = next(n for n, v in self.env_vars.items() if v == value and n.endswith(field_name))
            raise ConfigurationError(
                f"The settings cannot work: {named.upper()} in the environment is no JSON; "
                """a list is written like '["PACS@192.0.2.10"]'."""
            ) from exc


class Settings(BaseSettings):
    """Every setting, with safe defaults: loopback only, no destination, the demonstration bundle."""

    model_config = SettingsConfigDict(env_prefix="TRIAGE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    listener: ListenerSettings = ListenerSettings()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    series: SeriesSettings = SeriesSettings()
    inference: InferenceSettings = InferenceSettings()
    web: WebSettings = WebSettings()
    audit: AuditSettings = AuditSettings()
    destinations: tuple[DestinationSettings, ...] = ()
    notify: tuple[NotifierSettings, ...] = ()

    @model_validator(mode="after")
    def _distinct_names(self) -> Settings:
        names = [way.name for way in (*self.destinations, *self.notify)]
        if len(names) != len(set(names)):
            raise ValueError("two destinations or notifiers have the same name")
        known = {destination.name for destination in self.destinations}
        for notifier in self.notify:
            if notifier.after and notifier.after not in known:
                raise ValueError(f"notifier {notifier.name} waits for {notifier.after!r}, which is no destination")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file, whose content is given to the constructor."""
        return (_Environment(settings_cls), init_settings)


def read_settings(file: Path | None = None) -> Settings:
    """Read ``file``, else ``./triage.toml`` if there is one, under the environment.

    Raises
    ------
    ConfigurationError
        The file is missing, cannot be read or is no TOML, a list in the environment is no JSON, a key is unknown, or a
        value cannot work; the message names it.
    """
    try:
        return Settings(**_content(file))
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'settings'}: {_said(e)}" for e in exc.errors())
        raise ConfigurationError(f"The settings cannot work: {problems}.") from exc


def _content(file: Path | None) -> dict[str, Any]:
    chosen = file or DEFAULT_FILE
    try:
        return tomllib.loads(chosen.read_text("utf-8"))
    except FileNotFoundError as exc:
        if file is None:
            return {}
        raise ConfigurationError(f"There is no settings file {file}.") from exc
    except OSError as exc:
        raise ConfigurationError(f"The settings file {chosen} cannot be read ({exc.strerror}).") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{chosen} is not valid TOML: {exc}.") from exc


def _said(error: ErrorDetails) -> str:
    """What is wrong with a value, in words for whoever wrote it."""
    if error["type"] == "extra_forbidden":
        return "there is no such key"
    return error["msg"].removeprefix("Value error, ").removesuffix(".")


def settings_of_record(settings: Settings) -> dict[str, Any]:
    """The effective settings as plain JSON values, with ``***`` for what is secret in the URLs.

    Raises
    ------
    ConfigurationError
        The URL of the database cannot be read.
    """
    plain = settings.model_dump(mode="json")
    plain["database"]["url"] = without_secrets(plain["database"]["url"])
    for notifier in plain["notify"]:
        notifier["url"] = _host_alone(notifier["url"])
    return plain


def _host_alone(url: str) -> str:
    """Where a webhook is: its path and its query often are secrets of their own."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/***" if url else ""
