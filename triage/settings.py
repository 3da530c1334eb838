"""The settings: one TOML file, every key also as ``TRIAGE_<GROUP>__<KEY>``. Read once, at start.

Only the entrypoints see this module; services are given plain values.
"""

from __future__ import annotations

import ipaddress
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from triage.domain.completeness import Timings
from triage.domain.errors import ConfigurationError
from triage.domain.study import AeTitle

DEFAULT_FILE = Path("triage.toml")
ObjectKind = Literal["SEG", "SR"]

Port = Annotated[int, Field(ge=1, le=65535)]


def _ae_title(value: str) -> str:
    return AeTitle(value).value


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ListenerSettings(_Group):
    """Where the daemon accepts C-STORE and C-ECHO."""

    ae_title: str = Field("ICHTRIAGE", description="AE title that senders call")
    host: str = Field("127.0.0.1", description="address to listen on; anything but loopback needs allowed_callers")
    port: Port = Field(11112, description="TCP port to listen on")
    allowed_callers: tuple[str, ...] = Field(
        (), description='who may send: "AE", or "AE@address" with an address or network; empty = anyone, loopback only'
    )
    max_associations: int = Field(64, ge=1, description="associations accepted at the same time")

    check_ae_title = field_validator("ae_title")(_ae_title)

    @model_validator(mode="after")
    def _refuse_strangers(self) -> ListenerSettings:
        try:
            loopback = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            loopback = self.host == "localhost"
        if not loopback and not self.allowed_callers:
            raise ValueError(f"listening on {self.host} needs listener.allowed_callers: name who may send")
        return self


class DatabaseSettings(_Group):
    """Where the truth is kept."""

    url: str = Field(
        "sqlite:///var/triage.db", description="SQLAlchemy URL: sqlite:///FILE or postgresql://USER@HOST/NAME"
    )

    @field_validator("url")
    @classmethod
    def _known_dialect(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("database.url must begin with sqlite:/// or postgresql://")
        return value


class StorageSettings(_Group):
    """The file area for received instances and result objects."""

    root: Path = Field(Path("var/blobs"), description="folder of the file area")
    min_free_gb: float = Field(2.0, ge=0, description="below this much free space instances are refused (0xA700)")


class SeriesSettings(_Group):
    """When a series counts as complete."""

    settle_seconds: float = Field(1.5, gt=0, description="after release, when the positions are gap-free")
    quiet_seconds: float = Field(10.0, gt=0, description="without a new instance, otherwise")
    max_wait_seconds: float = Field(120.0, gt=0, description="after the first instance, in any case")

    @model_validator(mode="after")
    def _ordered(self) -> SeriesSettings:
        self.timings()
        return self

    def timings(self) -> Timings:
        """The waiting times as the domain's value."""
        return Timings(self.settle_seconds, self.quiet_seconds, self.max_wait_seconds)


class InferenceSettings(_Group):
    """Which models run, and on what."""

    bundle: Path | None = Field(None, description="bundle folder; empty = the demonstration bundle that is shipped")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where it loads")
    threads: int = Field(0, ge=0, description="threads of one worker; 0 = all cores")
    every_slice: bool = Field(False, description="segment every slice, not only those that the gate lights up")


class DestinationSettings(_Group):
    """One archive that results are sent to."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="short name, shown on the worklist")
    ae_title: str = Field(description="AE title of the archive")
    host: str = Field(description="its address")
    port: Port = Field(description="its port")
    kind: Literal["dicom"] = Field("dicom", description="how results are sent: C-STORE")
    objects: tuple[ObjectKind, ...] = Field(("SEG", "SR"), description="which result objects are sent")

    check_ae_title = field_validator("ae_title")(_ae_title)


class Settings(BaseSettings):
    """Every setting, with safe defaults: loopback only, no destination, the demonstration bundle."""

    model_config = SettingsConfigDict(env_prefix="TRIAGE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    listener: ListenerSettings = ListenerSettings()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    series: SeriesSettings = SeriesSettings()
    inference: InferenceSettings = InferenceSettings()
    destinations: tuple[DestinationSettings, ...] = ()

    @model_validator(mode="after")
    def _distinct_destinations(self) -> Settings:
        names = [d.name for d in self.destinations]
        if len(names) != len(set(names)):
            raise ValueError("two destinations have the same name")
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
        return (env_settings, init_settings)


def read_settings(file: Path | None = None) -> Settings:
    """Read ``file``, else ``./triage.toml`` if there is one, under the environment.

    Raises
    ------
    ConfigurationError
        The file is missing or no TOML, a key is unknown, or a value cannot work; the message names it.
    """
    if file is not None and not file.is_file():
        raise ConfigurationError(f"There is no settings file {file}.")
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)

    try:
        return Settings(**(tomllib.loads(chosen.read_text("utf-8")) if chosen else {}))
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'settings'}: {e['msg']}" for e in exc.errors())
        raise ConfigurationError(f"The settings cannot work: {problems}.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{chosen} is not valid TOML: {exc}.") from exc


def settings_of_record(settings: Settings) -> dict[str, Any]:
    """The effective settings as plain JSON values, the password in the database URL hidden."""
    plain = settings.model_dump(mode="json")
    scheme, _, rest = plain["database"]["url"].partition("://")
    credentials, at, place = rest.rpartition("@")
    if at and ":" in credentials:
        plain["database"]["url"] = f"{scheme}://{credentials.partition(':')[0]}:***@{place}"
    return plain


def example_toml() -> str:
    """A settings file with every key at its default and its meaning as a comment."""
    lines = ["# ich-triage settings. Every key may also be given as TRIAGE_<GROUP>__<KEY> in the environment.", ""]
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, _Group):
            lines += [f"# {_first_line(group)}", f"[{name}]", *_keys(group), ""]
    lines += [f"# {_first_line(DestinationSettings)}; repeat the block for more.", "# [[destinations]]"]
    lines += [f"# {line}" for line in _keys(DestinationSettings, example=_EXAMPLE_DESTINATION)]
    return "\n".join(lines) + "\n"


_EXAMPLE_DESTINATION = {"name": "pacs", "ae_title": "PACS", "host": "192.0.2.10", "port": 104}


def _first_line(group: type[BaseModel]) -> str:
    return (group.__doc__ or "").strip().splitlines()[0].rstrip(".")


def _keys(group: type[BaseModel], example: dict[str, Any] | None = None) -> list[str]:
    width = max(len(key) for key in group.model_fields)
    lines = []
    for key, field in group.model_fields.items():
        value = (example or {}).get(key, field.default)
        # TOML has no null: a key without a default is shown switched off.
        text = f'# {key} = "..."' if value is None else f"{key:<{width}} = {_toml(value)}"
        lines.append(f"{text}  # {field.description}")
    return lines


def _toml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value)
