"""A signed webhook: the row of the worklist as JSON, for lists and messengers that speak HTTP.

The body is the same whenever it is sent; its signature carries the time of sending. A receiver checks it like this::

    parts = dict(part.split("=", 1) for part in headers["X-Triage-Signature"].split(","))
    expected = hmac.new(secret, parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    genuine = hmac.compare_digest(expected, parts["v1"]) and abs(time.time() - int(parts["t"])) < 300

A body may arrive twice when an answer was lost. ``Idempotency-Key`` (the ``message_id`` of the body) tells which
message it is; one that was seen before is to be answered with 200 and otherwise ignored.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

import httpx

from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.errors import ConfigurationError, DeliveryRefused, DeliveryUnconfirmed, TriageError
from triage.domain.finding import KINDS
from triage.domain.notice import Demographics, Notice
from triage.net.callers import is_loopback
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.net.tls import TlsFiles

SIGNATURE: Final = "X-Triage-Signature"
IDEMPOTENCY: Final = "Idempotency-Key"
SHORTEST_SECRET: Final = 16
_LATER = frozenset({408, 425, 429})
"""The statuses of 4xx that say "not now" instead of "no"."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where notices are posted, and the secret that signs them.

    ``tls`` replaces the certificate authorities of the machine, for a receiver with a certificate of the site.
    """

    url: str = field(repr=False)  # its path often is a secret of its own
    secret: bytes = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as exc:
            raise ConfigurationError(f"The url of a webhook cannot be read: {exc}.") from exc
        if url.userinfo:
            raise ConfigurationError("The url of a webhook holds a password: the signature is what proves who sends.")
        plain = url.scheme == "http" and is_loopback(url.host)
        if not url.host or not (url.scheme == "https" or plain):
            raise ConfigurationError(
                f"The url of a webhook must begin with https:// ({url.host or 'no host'} is given as {url.scheme}://): "
                "a plain one is allowed to this machine only."
            )
        if len(self.secret) < SHORTEST_SECRET:
            raise ConfigurationError(f"The secret of a webhook has at least {SHORTEST_SECRET} characters.")

    def __str__(self) -> str:
        return f"the webhook at {httpx.URL(self.url).host}"


def encode_webhook(notice: Notice, identifier: str, *, include_patient: bool = False) -> EncodedObject:
    """Encode a notice as JSON in ASCII, with the names of the worklist; the same bytes for the same notice.

    Without ``include_patient`` nothing of the patient and no accession number is in it; the UIDs of study and
    series are, so that a receiver can find the images.

    Parameters
    ----------
    identifier : str
        Names this message among all.
    """
    return EncodedObject(
        kind=ObjectKind.WEBHOOK,
        sop_class_uid="",
        sop_instance_uid=identifier,
        series_instance_uid="",
        transfer_syntax_uid="",
        content=json.dumps(_body(notice, identifier, include_patient), sort_keys=True, indent=1).encode("ascii"),
    )


def send(
    webhook: Webhook,
    instances: Sequence[OutgoingInstance],
    *,
    timeout_seconds: float = 30.0,
    clock: Callable[[], float] = time.time,
) -> list[SendOutcome]:
    """Post messages one after the other; one outcome each, in order, whose status is that of HTTP.

    2xx is accepted, a redirection and 4xx are refused for good, but for 408, 425 and 429; those, 5xx and
    silence are tried again. ``clock`` gives the Unix time that the signature carries.
    """
    # Not httpx's own choice of authorities, which a site cannot add to.
    verify = webhook.tls if webhook.tls is not None else TlsFiles().client_context()
    # A proxy named in the environment would see what was meant for the receiver alone.
    with httpx.Client(verify=verify, timeout=timeout_seconds, follow_redirects=False, trust_env=False) as client:
        return [_post(webhook, client, item, clock) for item in instances]


def signature(secret: bytes, body: bytes, at: int) -> str:
    """The value of ``X-Triage-Signature``: HMAC-SHA-256 over the time, a point and the body."""
    digest = hmac.new(secret, f"{at}.".encode("ascii") + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _post(webhook: Webhook, client: httpx.Client, item: OutgoingInstance, clock: Callable[[], float]) -> SendOutcome:
    status: int | None = None
    error: TriageError | None
    try:
        body = item.read()
        headers = {
            "Content-Type": "application/json",
            SIGNATURE: signature(webhook.secret, body, int(clock())),
            IDEMPOTENCY: item.sop_instance_uid,
        }
        with client.stream("POST", webhook.url, content=body, headers=headers) as answer:
            status = answer.status_code  # what else it says is not read
        error = _error(webhook, status)
    except httpx.TimeoutException:
        error = DeliveryUnconfirmed(f"{_begin(webhook)} did not answer in time.")
    except (httpx.TransportError, httpx.InvalidURL) as exc:
        error = _unreachable(webhook, exc)
    except TriageError as exc:
        error = exc
    return SendOutcome(item.sop_instance_uid, error, status)


def _error(webhook: Webhook, status: int) -> TriageError | None:
    said = f"{_begin(webhook)} answered with HTTP status {status}"
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return DeliveryRefused(f"{said}, a redirection, which is not followed: configure the final url.", status)
    if 400 <= status < 500 and status not in _LATER:
        hint = "check url and secret" if status in (401, 403, 404) else "sending it again cannot help"
        return DeliveryRefused(f"{said}: {hint}.", status)
    return DeliveryUnconfirmed(f"{said}; it will be sent again.", status)


def _unreachable(webhook: Webhook, exc: Exception) -> DeliveryUnconfirmed:
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return DeliveryUnconfirmed(
                f"The certificate of {webhook} is not trusted ({cause.verify_message}): check url and tls_ca."
            )
        cause = cause.__cause__ or cause.__context__
    return DeliveryUnconfirmed(f"Cannot reach {webhook}, or it broke off: is it running, and is the url right?")


def _begin(webhook: Webhook) -> str:
    return f"The{str(webhook).removeprefix('the')}"


def _body(notice: Notice, identifier: str, include_patient: bool) -> dict[str, Any]:
    result, patient = notice.result, notice.demographics
    key = result.key_slice if result is not None else None
    by_kind = sorted(notice.objects, key=lambda named: named[0])
    objects = [{"kind": str(kind), "sop_instance_uid": one.sop_instance_uid} for kind, one in by_kind]
    body: dict[str, Any] = {
        "message_id": identifier,
        "study_instance_uid": notice.study_instance_uid,
        "series_instance_uid": notice.series_instance_uid,
        "revision": notice.revision,
        "status": str(notice.status),
        "provisional": result is not None and result.provisional,
        "reason": str(notice.reason) if notice.reason is not None else None,
        "urgency": str(notice.urgency),
        "score": round(result.score, 4) if result is not None else None,
        "subtypes": _subtypes(notice),
        "total_volume_ml": round(result.total_volume_ml, 2) if result is not None else None,
        "key_slice": None
        if key is None
        else {"sop_instance_uid": key.sop_instance_uid, "frame_number": key.frame_number, "index": key.index},
        "content_at": notice.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "bundle": notice.bundle,
        "bundle_sha256": notice.provenance.bundle_digest,
        "demonstration": notice.provenance.demonstration,
        "unopened_minutes": notice.escalation.minutes if notice.escalation is not None else None,
        "objects": objects,
        "statements": list(notice.statements),
    }
    if include_patient:
        body |= {"accession_number": patient.accession_number, "patient": _patient(patient)}
    return body


def _subtypes(notice: Notice) -> dict[str, dict[str, float]]:
    if notice.result is None:
        return {}
    return {
        str(s): {"probability": round(found.probability, 4), "volume_ml": round(found.volume_ml, 2)}
        for s, found in ((s, notice.result.subtypes[s]) for s in KINDS if s in notice.result.subtypes)
    }


def _patient(patient: Demographics) -> dict[str, str]:
    name = patient.name or patient.name_ideographic
    written = " ".join(filter(None, (name.prefix, name.given, name.middle, name.family, name.suffix)))
    return {
        "id": patient.patient_id,
        "issuer": patient.issuer_of_patient_id,
        "name": written,
        "birth_date": patient.birth_date,
        "sex": patient.sex,
    }
