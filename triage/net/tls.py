"""TLS on DICOM associations: certificates from files, and what went wrong said in words an administrator can act on."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from triage.domain.errors import ConfigurationError

CLIENT_HELLO: Final = b"\x16\x03"
"""How a TLS client begins (RFC 8446 5.1): on a plain port these are the first bytes instead of a PDU."""
TLS_ALERT: Final = b"\x15\x03"
"""How a TLS server answers what is no TLS, when it answers at all."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where keys and certificates lie, as PEM files. They are read anew for each association, so they may be renewed.

    ``ca_file`` holds the authorities that the other side's certificate must come from. A destination without it is
    checked against the authorities of this machine; a listener without it admits peers without a certificate.
    ``certificate_file`` and ``key_file`` (not encrypted) are ours. ``expected_name`` is the name in a destination's
    certificate where that is not its host, as when an archive is reached by address.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    expected_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ConfigurationError("tls_certificate and tls_key go together; one of them is missing.")

    def client_context(self) -> ssl.SSLContext:
        """What a requestor needs: the other side's certificate and name are always checked.

        Raises
        ------
        ConfigurationError
            If a file is missing or is not what its key says.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca_file is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return self._load(context)

    def server_context(self) -> ssl.SSLContext:
        """What a listener needs: with ``ca_file`` only peers with a certificate from there get in.

        Raises
        ------
        ConfigurationError
            If there is no certificate, or a file is missing or is not what its key says.
        """
        if self.certificate_file is None:
            raise ConfigurationError("A listener that speaks TLS needs tls_certificate and tls_key.")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.ca_file is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return self._load(context)

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = RememberingSocket
        if self.ca_file is not None:
            try:
                context.load_verify_locations(self.ca_file)
            except (OSError, ssl.SSLError) as exc:
                raise ConfigurationError(f"tls_ca {self.ca_file} is no readable PEM file ({_why(exc)}).") from exc
        if self.certificate_file is not None:
            try:
                # Without a password function OpenSSL would ask for one on the terminal, and wait.
                context.load_cert_chain(self.certificate_file, self.key_file, password=lambda: "")
            except (OSError, ssl.SSLError) as exc:
                raise ConfigurationError(
                    f"tls_certificate {self.certificate_file} and tls_key {self.key_file} are not a readable "
                    f"pair of PEM files with an unencrypted key ({_why(exc)})."
                ) from exc
        return context


class RememberingSocket(ssl.SSLSocket):
    """Keeps the exception of a failed handshake; pynetdicom only tells that there is no connection."""

    failure: OSError | None = None

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, and remember why that failed."""
        try:
            super().do_handshake(block)
        except OSError as exc:
            self.failure = exc
            raise


def client_trouble(name: str, failure: OSError) -> str | None:
    """One sentence on a failed TLS connection to ``name``; None when the failure has nothing to do with TLS."""
    reason = _reason(failure)
    if isinstance(failure, ssl.SSLCertVerificationError):
        if failure.verify_code in _NAME_MISMATCHES:
            return (
                f"The certificate of {name} is for another name ({failure.verify_message.rstrip('.')}): set "
                "tls_name of this destination to the name in the certificate, if that is the right machine."
            )
        return (
            f"The certificate of {name} is not trusted ({failure.verify_message}): set tls_ca of this destination to "
            "the authority that issued it, or have the archive's certificate renewed."
        )
    if reason in _NOT_TLS:
        return f"{name} does not speak TLS on this port: switch TLS off for this destination, or give its TLS port."
    if "ALERT" in reason:
        return (
            f"{name} refuses our certificate or our kind of TLS ({_words(reason)}): set tls_certificate and tls_key "
            "of this destination to a certificate that the archive trusts."
        )
    if isinstance(failure, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
        return (
            f"{name} closed the connection during the TLS handshake: it may not speak TLS on this port, or not trust "
            "our certificate (tls_certificate of this destination)."
        )
    if isinstance(failure, TimeoutError):
        return f"{name} did not answer the TLS handshake: does it speak TLS on this port?"
    if isinstance(failure, ssl.SSLError):
        return f"TLS with {name} failed: {_words(reason)}."
    return None


def server_trouble(failure: OSError) -> str | None:
    """One sentence on a peer that our TLS listener could not admit; None when it only went away."""
    reason = _reason(failure)
    if reason in _NOT_TLS:
        return (
            "The peer does not speak TLS, but the listener expects it: switch TLS on there, or leave out "
            "listener.tls_certificate."
        )
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "The peer showed no certificate, and listener.tls_ca asks for one: give the sender a client certificate."
    if isinstance(failure, ssl.SSLCertVerificationError):
        return (
            f"The peer's certificate is not trusted ({failure.verify_message}): add its authority to "
            "listener.tls_ca, or have the sender's certificate renewed."
        )
    if "ALERT" in reason:
        return (
            f"The peer refuses the listener's certificate ({_words(reason)}): give the sender the authority that "
            "issued listener.tls_certificate."
        )
    if isinstance(failure, ssl.SSLError) and not isinstance(failure, ssl.SSLEOFError):
        return f"TLS with the peer failed: {_words(reason)}."
    return None


PLAIN_LISTENER: Final = (
    "The peer speaks TLS, but the listener does not: switch TLS off there, or set "
    "listener.tls_certificate and listener.tls_key."
)

_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "PACKET_LENGTH_TOO_LONG"})
_NAME_MISMATCHES: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


def _reason(failure: OSError) -> str:
    reason: Any = getattr(failure, "reason", None)
    return reason if isinstance(reason, str) else ""


def _words(reason: str) -> str:
    return reason.replace("_", " ").lower() or "no reason given"


def _why(failure: OSError) -> str:
    return failure.strerror if not isinstance(failure, ssl.SSLError) and failure.strerror else _words(_reason(failure))
