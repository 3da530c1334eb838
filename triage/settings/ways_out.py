"""Where results go: archives (``destinations``) and reading lists (``notify``)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from triage.domain.encoded import ObjectKind
from triage.domain.notice import checked_mail_address
from triage.domain.profile import Profile
from triage.domain.work import RetryPolicy
from triage.settings.groups import Group, Port, checked_ae_title

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class WayOut(Group):
    """What archives and lists have in common."""

    NEEDED: ClassVar[dict[str, tuple[str, ...]]] = {}
    """The keys that each kind cannot do without."""

    name: Name = Field(description="short name, shown on the worklist")
    kind: str = Field(description="how it is reached")
    ae_title: str = Field("", description="AE title that is called")
    host: str = Field("", description="its address")
    port: Port | None = Field(None, description="its port")
    url: str = Field("", description="its address on the web, https://...")
    tls: bool = Field(False, description="speak TLS; with https:// always")
    tls_ca: Path | None = Field(None, description="certificates that its own must go back to; empty = the system's")
    tls_certificate: Path | None = Field(None, description="our certificate, for mutual TLS")
    tls_key: Path | None = Field(None, description="the key of our certificate")
    tls_name: str = Field("", description="name in its certificate, when it is not the host")
    timeout_seconds: float = Field(30.0, gt=0, description="how long an answer may take")
    concurrency: int = Field(1, ge=1, le=16, description="results sent to it at the same time")
    retry_base_seconds: float = Field(2.0, gt=0, description="wait after the first failure; doubled after each")
    retry_cap_seconds: float = Field(300.0, gt=0, description="longest wait between two tries")
    max_attempts: int = Field(200, ge=1, description="then a person must look (triage retry)")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        missing = [key for key in self.NEEDED[self.kind] if not getattr(self, key)]
        if missing:
            raise ValueError(f"kind {self.kind!r} needs {' and '.join(missing)}")
        if self.ae_title:
            checked_ae_title(self.ae_title)
        if self.url and not self.url.startswith(("https://", "http://")):
            raise ValueError("url must begin with https:// or http://")
        if (self.tls_certificate is None) is not (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        self.retry_policy()
        return self

    def retry_policy(self) -> RetryPolicy:
        """When a failed try is repeated."""
        return RetryPolicy(self.retry_base_seconds, self.retry_cap_seconds, self.max_attempts)


class DestinationSettings(WayOut):
    """One archive that results are sent to."""

    NEEDED: ClassVar[dict[str, tuple[str, ...]]] = {
        "dicom": ("ae_title", "host", "port"),
        "stow": ("url",),
        "folder": ("folder",),
    }

    kind: Literal["dicom", "stow", "folder"] = Field(
        "dicom", description="how results are sent: C-STORE, STOW-RS (DICOMweb), or into a folder"
    )
    folder: Path | None = Field(None, description="of kind folder: where the files go")
    token_file: Path | None = Field(None, description="of kind stow: file with a bearer token")
    objects: tuple[ObjectKind, ...] = Field(
        (ObjectKind.SEG, ObjectKind.SR), description="which result objects are sent; docs/conformance.md lists them"
    )
    only: Literal["all", "suspected"] = Field("all", description="which studies: all, or only suspected ones")
    undetermined: bool = Field(False, description="report studies that could not be analysed as Undetermined")
    reject_superseded: bool = Field(False, description="reject the objects of a revision when the next one is sent")
    commitment: bool = Field(False, description="ask for storage commitment; results then end as committed")
    commitment_wait_seconds: float = Field(60.0, gt=0, description="then the archive is asked what it has")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.commitment and self.kind == "folder":
            raise ValueError("a folder cannot commit: set commitment = false")
        self.profile()
        return self

    def profile(self) -> Profile:
        """What is sent, as the domain's value."""
        return Profile(self.objects, self.only == "suspected", self.undetermined, self.reject_superseded)


class NotifierSettings(WayOut):
    """One reading list, or other system, that is told of results."""

    NEEDED: ClassVar[dict[str, tuple[str, ...]]] = {
        "hl7": ("host", "port"),
        "ups": ("ae_title", "host", "port", "retrieve_ae_title"),
        "pull": ("retrieve_ae_title",),
        "ian": ("ae_title", "host", "port", "after"),
        "webhook": ("url", "secret_file"),
        "email": ("host", "port", "sender", "recipients"),
    }
    ESCALATED: ClassVar[tuple[str, ...]] = ("hl7", "webhook", "email")
    """The kinds that can say a second time what nobody has looked at."""

    kind: Literal["hl7", "ups", "pull", "ian", "webhook", "email"] = Field(
        description="HL7 v2 ORU over MLLP, UPS Push, UPS for those who ask our listener, "
        "Instance Availability Notification, a signed webhook, or e-mail by SMTP"
    )
    only: Literal["all", "suspected"] = Field("suspected", description="which studies: all, or only suspected ones")
    undetermined: bool = Field(False, description="tell of studies that could not be analysed as well")
    after: str = Field("", description="of kind ian: the destination that must have the objects first")
    retrieve_ae_title: str = Field(
        "",
        description="of kinds ups, pull, ian: archive of images and results; ian: empty = that of after",
    )
    secret_file: Path | None = Field(None, description="of kind webhook: file with the key of the signature")
    include_patient: bool = Field(
        False, description="of kind webhook: patient and accession number; of kind email: the accession number alone"
    )
    escalate_minutes: int = Field(
        0,
        ge=0,
        description="of kinds hl7, webhook, email: tell again of a suspected study that nobody opened on our pages for "
        "so long; 0 = never",
    )
    receiving_application: str = Field("", description="of kind hl7: MSH-5")
    receiving_facility: str = Field("", description="of kind hl7: MSH-6")
    sending_facility: str = Field("", description="of kind hl7: MSH-4")
    sender: str = Field("", description="of kind email: address that messages are from")
    recipients: tuple[str, ...] = Field((), description="of kind email: addresses that messages are for")
    mail_tls: Literal["starttls", "implicit", "plain"] = Field(
        "starttls", description="of kind email: starttls, implicit (TLS from the first byte), or plain (loopback only)"
    )
    plain_allowed: bool = Field(
        False, description="of kind email: let messages leave this machine without TLS where mail_tls is plain"
    )
    user: str = Field("", description="of kind email: whom we log in as; empty = nobody")
    password_file: Path | None = Field(None, description="of kind email: file with the password of user")

    @model_validator(mode="after")
    def _tellable(self) -> Self:
        if self.escalate_minutes and self.kind not in self.ESCALATED:
            raise ValueError(f"escalate_minutes is for kinds {', '.join(self.ESCALATED)}, not {self.kind}")
        if self.kind == "email":
            if self.tls:
                raise ValueError("kind 'email' has mail_tls in place of tls")
            if bool(self.user) is not (self.password_file is not None):
                raise ValueError("user and password_file go together")
            for address in (self.sender, *self.recipients):
                checked_mail_address(address)
        return self
