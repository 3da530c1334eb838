"""The groups of settings that every installation has once."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from triage.domain.completeness import Timings
from triage.domain.study import AeTitle
from triage.store.bucket_url import SCHEME, BucketUrl

Port = Annotated[int, Field(ge=1, le=65535)]


def checked_ae_title(value: str) -> str:
    """Check an AE title (PS3.5 6.2)."""
    return AeTitle(value).value


class Group(BaseModel):
    """Unknown keys are refused, and nothing changes after start."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ListenerSettings(Group):
    """Where the daemon accepts C-STORE and C-ECHO."""

    ae_title: str = Field("ICHTRIAGE", description="AE title that senders call")
    host: str = Field("127.0.0.1", description="address to listen on; anything but loopback needs allowed_callers")
    port: Port = Field(11112, description="TCP port to listen on")
    allowed_callers: tuple[str, ...] = Field(
        (), description='who may send: "AE", or "AE@address" with an address or network; empty = anyone, loopback only'
    )
    max_associations: int = Field(64, ge=1, description="associations accepted at the same time")
    tls_certificate: Path | None = Field(None, description="our certificate; with it the listener speaks TLS only")
    tls_key: Path | None = Field(None, description="the key of our certificate")
    tls_ca: Path | None = Field(None, description="certificates that those of callers must go back to: mutual TLS")

    check_ae_title = field_validator("ae_title")(checked_ae_title)

    @model_validator(mode="after")
    def _refuse_strangers(self) -> ListenerSettings:
        if (self.tls_certificate is None) is not (self.tls_key is None):
            raise ValueError("listener.tls_certificate and listener.tls_key go together")
        if self.tls_ca is not None and self.tls_certificate is None:
            raise ValueError("listener.tls_ca needs listener.tls_certificate")
        try:
            loopback = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            loopback = self.host == "localhost"
        if not loopback and not self.allowed_callers:
            raise ValueError(f"listening on {self.host} needs listener.allowed_callers: name who may send")
        return self


class DatabaseSettings(Group):
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


class StorageSettings(Group):
    """The file area for received instances and result objects."""

    root: Path | str = Field(Path("var/blobs"), description=f"folder of the file area, or {SCHEME}BUCKET/PREFIX")
    min_free_gb: float = Field(2.0, ge=0, description="below this much free space instances are refused (0xA700)")
    retain_days: int = Field(
        0, ge=0, description="files of studies that have been at rest so long are removed; 0 = kept for ever"
    )

    @field_validator("root", mode="before")
    @classmethod
    def _folder_or_bucket(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if "://" not in value:
            return Path(value)
        BucketUrl.parse(value)
        return value


class SeriesSettings(Group):
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


class InferenceSettings(Group):
    """Which models run, and on what."""

    bundle: Path | None = Field(
        None,
        description="bundle folder, used until `triage bundle use` has chosen one; empty = the demonstration bundle "
        "that is shipped",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where it loads")
    threads: int = Field(0, ge=0, description="threads of one worker; 0 = all cores")
    every_slice: bool = Field(False, description="segment every slice, not only those that the gate lights up")
