"""From settings to ways out: how each destination and each reading list is reached, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar, assert_never

from triage.dicom.availability import encode_availability
from triage.dicom.source import Source
from triage.dicom.ups import encode_ups
from triage.domain.encoded import EncodedObject
from triage.domain.errors import ConfigurationError
from triage.domain.notice import Notice
from triage.net import create, folder, mllp, query, scu, smtp, stow, wado, webhook
from triage.net.commitment import CommitmentReport, request_commitment
from triage.net.dicomweb import DicomWebTarget
from triage.net.folder import FolderTarget
from triage.net.hl7 import Hl7Names, encode_oru
from triage.net.mllp import Hl7Receiver
from triage.net.outgoing import OutgoingInstance, SendOutcome
from triage.net.scu import RemoteAe
from triage.net.smtp import MailServer, MailTls, encode_email
from triage.net.tls import TlsFiles
from triage.net.webhook import Webhook, encode_webhook
from triage.services.commit import Reference, Request
from triage.services.deliver import Send
from triage.services.notify import Encode, Notifier
from triage.services.selftest import Archive
from triage.settings import DestinationSettings, NotifierSettings, Settings
from triage.settings.ways_out import WayOut

Target = TypeVar("Target")
Called = TypeVar("Called", RemoteAe, DicomWebTarget)
Outcomes = list[SendOutcome]


def send_to(destination: DestinationSettings, settings: Settings) -> Send:
    """The way to an archive.

    Raises
    ------
    ConfigurationError
        A certificate, a key or a token cannot be read. So for `tell`; while we run, that is tried again.
    """
    match destination.kind:
        case "dicom":
            remote = _readable(remote_ae(destination, settings))
            return partial(scu.send, remote, timeout_seconds=destination.timeout_seconds)
        case "stow":
            return partial(stow.send, _readable(dicomweb(destination)))
        case "folder":
            return partial(folder.send, FolderTarget(destination.folder or Path()))
    assert_never(destination.kind)


def tell(notifier: NotifierSettings, settings: Settings) -> Send:
    """The way to a reading list that is told; one that pulls has none."""
    patience = notifier.timeout_seconds
    match notifier.kind:
        case "hl7":
            return _made_anew(partial(_hl7_receiver, notifier), partial(mllp.send, timeout_seconds=patience))
        case "ups" | "ian":
            return partial(create.send, _readable(remote_ae(notifier, settings)), timeout_seconds=patience)
        case "webhook":
            return _made_anew(partial(_webhook, notifier), partial(webhook.send, timeout_seconds=patience))
        case "email":
            return _made_anew(partial(_mail_server, notifier), partial(smtp.send, timeout_seconds=patience))
        case "pull":
            raise ValueError(f"{notifier.name} asks for itself")
    assert_never(notifier.kind)


def _readable(target: Called) -> Called:
    """Certificates and tokens are read anew for each connection: what is wrong with them is said at start."""
    if target.tls is not None:
        target.tls.client_context()
    if isinstance(target, DicomWebTarget):
        target.headers()
    return target


def _made_anew(make: Callable[[], Target], send: Callable[[Target, Sequence[OutgoingInstance]], Outcomes]) -> Send:
    """A way whose certificates and secrets are read for each sending, so that they may be renewed."""
    make()  # what cannot be read is said at start
    return lambda instances: send(make(), instances)


def _hl7_receiver(notifier: NotifierSettings) -> Hl7Receiver:
    tls = _tls_files(notifier)
    return Hl7Receiver(notifier.host, notifier.port or 0, tls.client_context() if tls else None, notifier.tls_name)


def _webhook(notifier: NotifierSettings) -> Webhook:
    tls = _tls_files(notifier)
    secret = _secret(notifier, notifier.secret_file, "secret_file")
    return Webhook(notifier.url, secret.encode(), tls.client_context() if tls else None)


def _mail_server(notifier: NotifierSettings) -> MailServer:
    named = notifier.tls_ca or notifier.tls_certificate
    files = TlsFiles(notifier.tls_ca, notifier.tls_certificate, notifier.tls_key) if named else None
    return MailServer(
        host=notifier.host,
        port=notifier.port or 0,
        sender=notifier.sender,
        recipients=notifier.recipients,
        tls=MailTls(notifier.mail_tls),
        user=notifier.user,
        password=_secret(notifier, notifier.password_file, "password_file") if notifier.user else "",
        tls_context=files.client_context() if files else None,
        tls_name=notifier.tls_name,
        plain_allowed=notifier.plain_allowed,
    )


def notifiers(settings: Settings) -> dict[str, Notifier]:
    """What each reading list is told."""
    return {
        notifier.name: Notifier(
            encode=_encoder(notifier, settings),
            only_suspected=notifier.only == "suspected",
            undetermined=notifier.undetermined,
            after=notifier.after or None,
            pulled=notifier.kind == "pull",
            escalate_after=timedelta(minutes=notifier.escalate_minutes) if notifier.escalate_minutes else None,
        )
        for notifier in settings.notify
    }


def _encoder(notifier: NotifierSettings, settings: Settings) -> Encode:
    names = Hl7Names(
        receiving_application=notifier.receiving_application,
        receiving_facility=notifier.receiving_facility,
        sending_application=settings.listener.ae_title,
        sending_facility=notifier.sending_facility,
    )

    def oru(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
        return encode_oru(notice, names, identifier)

    def ups(notice: Notice, source: Source, identifier: str) -> EncodedObject:
        return encode_ups(notice, source, identifier, retrieve_ae_title=notifier.retrieve_ae_title)

    def ian(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
        title = notifier.retrieve_ae_title or _ae_title_of(notifier.after, settings)
        return encode_availability([reference for _, reference in notice.objects], title, identifier)

    def post(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
        return encode_webhook(notice, identifier, include_patient=notifier.include_patient)

    def mail(notice: Notice, _source: Source, identifier: str) -> EncodedObject:
        return encode_email(
            notice,
            identifier,
            sender=notifier.sender,
            recipients=notifier.recipients,
            public_url=settings.web.public_url,
            include_patient=notifier.include_patient,
        )

    return {"hl7": oru, "ups": ups, "pull": ups, "ian": ian, "webhook": post, "email": mail}[notifier.kind]


def commitment_request(
    destination: DestinationSettings, settings: Settings, on_report: Callable[[CommitmentReport], None]
) -> Request | None:
    """How storage commitment is asked for; None where the protocol has no such thing."""
    if destination.kind != "dicom":
        return None
    remote = remote_ae(destination, settings)

    def request(transaction_uid: str, references: Sequence[Reference]) -> None:
        request_commitment(
            remote, transaction_uid, references, on_report=on_report, timeout_seconds=destination.timeout_seconds
        )

    return request


def archive(destination: DestinationSettings, settings: Settings) -> Archive:
    """A destination as something that can be asked what it keeps.

    Raises
    ------
    ConfigurationError
        It is a folder.
    """
    store = send_to(destination, settings)
    match destination.kind:
        case "dicom":
            remote, patience = remote_ae(destination, settings), destination.timeout_seconds
            return Archive(
                store,
                lambda study, wanted: query.present(remote, study, wanted, timeout_seconds=patience),
                lambda r: query.retrieve(
                    remote,
                    r.study_instance_uid,
                    r.series_instance_uid,
                    r.sop_class_uid,
                    r.sop_instance_uid,
                    timeout_seconds=patience,
                ),
            )
        case "stow":
            target = dicomweb(destination)
            return Archive(
                store,
                partial(wado.present, target),
                lambda r: wado.retrieve(target, r.study_instance_uid, r.series_instance_uid, r.sop_instance_uid),
                partial(wado.delete_study, target),
            )
        case "folder":
            raise ConfigurationError(f"{destination.name} is a folder: there is nobody to ask what it keeps.")
    assert_never(destination.kind)


def remote_ae(way: WayOut, settings: Settings) -> RemoteAe:
    """A DICOM peer as it is called."""
    return RemoteAe(
        ae_title=way.ae_title,
        host=way.host,
        port=way.port or 0,
        calling_ae_title=settings.listener.ae_title,
        tls=_tls_files(way),
    )


def dicomweb(destination: DestinationSettings) -> DicomWebTarget:
    """A DICOMweb server as it is called."""
    tls = _tls_files(destination) if destination.url.startswith("https://") else None
    return DicomWebTarget(destination.url, destination.token_file, tls, destination.timeout_seconds)


def _tls_files(way: WayOut) -> TlsFiles | None:
    """Certificates, where TLS is spoken: for DICOM and HL7 when it is switched on, for the web when any is named."""
    named = way.tls_ca or way.tls_certificate or way.tls_name
    if not (way.tls or (way.url and named)):
        return None
    return TlsFiles(way.tls_ca, way.tls_certificate, way.tls_key, way.tls_name or None)


def _secret(way: WayOut, file: Path | None, key: str) -> str:
    try:
        return (file or Path()).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{key} of {way.name} cannot be read: {file}.") from exc


def _ae_title_of(name: str, settings: Settings) -> str:
    return next((d.ae_title for d in settings.destinations if d.name == name), "")
