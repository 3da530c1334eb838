"""The group ``web``: where the pages are served, to whom, and how people sign in."""

from __future__ import annotations

import ipaddress
import re
import string
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from triage.domain.account import Role
from triage.settings.groups import Group, Port

IN_WORDS: Final = "passwords and findings may travel unencrypted"
"""What has to be written to serve the pages to other machines without TLS."""


class WebSettings(Group):
    """Where the pages are served, and how people sign in."""

    host: str = Field("127.0.0.1", description="address to serve on; anything but loopback needs tls_certificate")
    port: Port = Field(8080, description="TCP port to serve on")
    tls_certificate: Path | None = Field(None, description="our certificate; with it the pages speak https only")
    tls_key: Path | None = Field(None, description="the key of our certificate")
    plain_http_beyond_loopback: str = Field(
        "", description=f'to serve other machines without TLS, as behind a proxy, write: "{IN_WORDS}"'
    )
    public_url: str = Field("", description="https://name under which browsers reach the pages; others are refused")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses or networks of proxies that say whom they ask for (X-Forwarded-For)"
    )
    viewer_link: str = Field(
        "", description="link to the site's viewer, with {study_instance_uid} and {accession_number} to be filled in"
    )
    session_hours: float = Field(10.0, gt=0, le=72, description="hours after which one has to sign in again")
    idle_minutes: float = Field(60.0, gt=0, description="minutes without a click after which one has to sign in again")
    oidc_issuer: str = Field("", description="OpenID Connect provider, https://...; empty = passwords only")
    oidc_client_id: str = Field("", description="our name at the provider")
    oidc_client_secret_file: Path | None = Field(
        None, description="file with our secret at the provider, if it gave one"
    )
    oidc_ca: Path | None = Field(None, description="certificates that the provider's must go back to; empty = system's")
    oidc_name_claim: str = Field("preferred_username", description="claim that names the person")
    oidc_roles_claim: str = Field("groups", description="claim that oidc_roles looks at; a list or one text")
    oidc_roles: tuple[str, ...] = Field(
        (), description='who may sign in, as what: "VALUE=radiologist" or "VALUE=administrator"; nobody else may'
    )

    @field_validator("viewer_link")
    @classmethod
    def _fillable(cls, value: str) -> str:
        if not value:
            return value
        if not re.match(r"(?i)(?!javascript|data|vbscript|file)[a-z][a-z0-9+.-]*:", value):
            raise ValueError("viewer_link must begin with https:// or the scheme of the viewer")
        try:
            names = {name for _, name, _, _ in string.Formatter().parse(value) if name is not None}
        except ValueError as exc:
            raise ValueError("viewer_link has a brace without its partner") from exc
        if not names <= {"study_instance_uid", "accession_number"}:
            raise ValueError("viewer_link knows only {study_instance_uid} and {accession_number}")
        return value

    @field_validator("public_url")
    @classmethod
    def _origin_only(cls, value: str) -> str:
        parts = urlsplit(value)
        more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or more or parts.port == 0):
            raise ValueError("public_url is https://name or https://name:port, without a path")
        # Browsers leave the usual port out of what they ask for.
        return value.rstrip("/").lower().removesuffix({"https": ":443", "http": ":80"}.get(parts.scheme, ""))

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as exc:
                raise ValueError(f"trusted_proxies: {proxy!r} is no address or network") from exc
        return value

    @model_validator(mode="after")
    def _protected(self) -> WebSettings:
        if (self.tls_certificate is None) is not (self.tls_key is None):
            raise ValueError("web.tls_certificate and web.tls_key go together")
        if self.tls_certificate and self.public_url.startswith("http://"):
            raise ValueError("with web.tls_certificate the pages speak https only: web.public_url begins with https://")
        if self.plain_http_beyond_loopback not in ("", IN_WORDS):
            raise ValueError(f'web.plain_http_beyond_loopback must be empty or exactly "{IN_WORDS}"')
        if not (self._loopback() or self.tls_certificate or self.plain_http_beyond_loopback):
            raise ValueError(
                f"serving the pages on {self.host} needs web.tls_certificate and web.tls_key; behind a proxy that "
                f'speaks TLS, set web.plain_http_beyond_loopback = "{IN_WORDS}"'
            )
        return self

    @model_validator(mode="after")
    def _provider_whole(self) -> WebSettings:
        if not self.oidc_issuer:
            return self
        parts = urlsplit(self.oidc_issuer)
        if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            raise ValueError("web.oidc_issuer must begin with https://")
        missing = [key for key in ("oidc_client_id", "oidc_roles", "public_url") if not getattr(self, key)]
        if missing:
            raise ValueError(f"web.oidc_issuer needs {' and '.join(f'web.{key}' for key in missing)}")
        self.role_mapping()
        return self

    def role_mapping(self) -> dict[str, Role]:
        """What each value of the provider's claim makes of a person."""
        mapping = {}
        for entry in self.oidc_roles:
            value, equals, role = entry.rpartition("=")
            if not (value and equals and role in (Role.RADIOLOGIST, Role.ADMINISTRATOR)):
                raise ValueError(f"web.oidc_roles: {entry!r} is not VALUE=radiologist or VALUE=administrator")
            mapping[value] = Role(role)
        return mapping

    def secure(self) -> bool:
        """Whether browsers reach the pages by https."""
        return self.tls_certificate is not None or self.public_url.startswith("https://")

    def _loopback(self) -> bool:
        return _is_loopback(self.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
