"""A DICOMweb server (PS3.18): how it is reached, and its failures as sentences."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx

from triage.domain.errors import ConfigurationError, DeliveryRefused, DeliveryUnconfirmed, TriageError
from triage.net.callers import is_loopback
from triage.net.tls import TlsFiles, client_trouble

JSON: Final = "application/dicom+json"
ANSWER_LIMIT_BYTES: Final = 4 << 20
"""What an answer about instances may take; more is no such answer."""


@dataclass(frozen=True, slots=True)
class DicomWebTarget:
    """The root of a DICOMweb service, such as ``https://pacs.example/dicom-web``, and how we show who we are.

    ``token_file`` holds a bearer token. It is read for each connection, as certificates are: tokens are renewed.
    """

    url: str
    token_file: Path | None = None
    tls: TlsFiles | None = None
    timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as exc:
            raise ConfigurationError("url of a DICOMweb destination is no URL.") from exc
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment or url.userinfo:
            raise ConfigurationError(
                "url of a DICOMweb destination must be the root of the service, such as "
                "https://pacs.example/dicom-web, without user name, password or query."
            )
        if self.timeout_seconds <= 0:
            raise ConfigurationError(f"timeout_seconds of {self} must be above zero.")
        if self.tls is not None and url.scheme == "http":
            raise ConfigurationError(f"{self} has certificates, but its url begins with http: write https.")
        if self.token_file is not None and url.scheme == "http" and not is_loopback(url.host):
            raise ConfigurationError(f"The bearer token of {self} would travel in the clear: use https.")

    def __str__(self) -> str:
        return self.url

    def address(self, *path: str) -> str:
        """The URL of a resource below the root."""
        return "/".join((self.url.rstrip("/"), *path))

    def headers(self) -> dict[str, str]:
        """What every request carries.

        Raises
        ------
        ConfigurationError
            If ``token_file`` cannot be read or holds no token.
        """
        if self.token_file is None:
            return {}
        try:
            token = self.token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigurationError(f"token_file of {self} cannot be read: {self.token_file}.") from exc
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigurationError(f"token_file of {self} is empty or holds characters that no token has.")
        return {"Authorization": f"Bearer {token}"}


@contextmanager
def client(target: DicomWebTarget) -> Iterator[httpx.Client]:
    """Connections to the server, closed at the end. No proxy or password is taken from the environment.

    Raises
    ------
    ConfigurationError
        If a certificate, key or token cannot be read.
    """
    tls = target.tls or TlsFiles()
    verify = tls.client_context() if target.url.lower().startswith("https") else True
    with httpx.Client(
        headers=target.headers(), verify=verify, timeout=target.timeout_seconds, trust_env=False
    ) as opened:
        yield opened


def fetch(
    target: DicomWebTarget, opened: httpx.Client, request: httpx.Request, *, limit_bytes: int = ANSWER_LIMIT_BYTES
) -> tuple[httpx.Response, bytes]:
    """Send a request and read its answer, whatever its status.

    Raises
    ------
    DeliveryUnconfirmed
        If there is no whole answer, or one larger than ``limit_bytes``.
    """
    if target.tls is not None and target.tls.expected_name is not None:
        request.extensions = {**request.extensions, "sni_hostname": target.tls.expected_name}
    try:
        response = opened.send(request, stream=True)
        try:
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if len(content) > limit_bytes:
                    raise DeliveryUnconfirmed(f"{target} gave an answer of more than {limit_bytes} bytes.")
        finally:
            response.close()
    except httpx.ConnectTimeout as exc:
        raise DeliveryUnconfirmed(f"Cannot connect to {target} in {target.timeout_seconds:g} s.") from exc
    except httpx.TimeoutException as exc:
        raise DeliveryUnconfirmed(f"{target} gave no answer in time.") from exc
    except httpx.HTTPError as exc:
        raise DeliveryUnconfirmed(_connection_trouble(target, exc)) from exc
    return response, bytes(content)


def http_trouble(target: DicomWebTarget, code: int, *, doing: str) -> TriageError:
    """An HTTP status without a better explanation in its body, as an error that says what to configure."""
    said = f"{target} answered {doing} with HTTP {code}"
    with suppress(ValueError):
        said += f" {HTTPStatus(code).phrase}"
    if code in (408, 425, 429) or code >= 500:
        return DeliveryUnconfirmed(f"{said}; it will be tried again.")
    advice = _ADVICE.get(code)
    if advice is None and 300 <= code < 400:
        advice = "set url of this destination to the address that it redirects to"
    return DeliveryRefused(f"{said}: {advice or 'sending it again cannot help'}.")


_ADVICE: Final = {
    401: "set token_file or the client certificate of this destination to one that the server accepts",
    403: "give our bearer token or client certificate the right to do this, on the server",
    404: "url of this destination must be the root of the DICOMweb service, such as https://pacs.example/dicom-web",
    405: "the service does not offer this, or url of this destination is not the root of the DICOMweb service",
    406: "the service does not answer in application/dicom+json",
    413: "the object is too large for the server or for a proxy in front of it, whose limit must be raised",
    415: "the service does not take application/dicom",
}


def _connection_trouble(target: DicomWebTarget, failure: httpx.HTTPError) -> str:
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return client_trouble(str(target), cause) or f"TLS with {target} failed."
        cause = cause.__cause__ or cause.__context__
    if isinstance(failure, httpx.ConnectError):
        return f"Cannot connect to {target}: is it running, and are host and port right?"
    return f"The connection to {target} broke before there was an answer."
