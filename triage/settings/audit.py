"""The group ``audit``: where the log is forwarded to, and the key that signs its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from triage.settings.groups import Group, Port


class AuditSettings(Group):
    """Where the audit log is forwarded to, and how its checkpoints are signed."""

    syslog_host: str = Field("", description="audit repository that is told of every act; empty = none")
    syslog_port: Port | None = Field(None, description="its port; empty = 6514 for tls, 514 for udp")
    syslog_transport: Literal["tls", "udp"] = Field("tls", description="how; udp may lose messages")
    syslog_tls_ca: Path | None = Field(None, description="certificates its own must go back to; empty = the system's")
    syslog_tls_certificate: Path | None = Field(None, description="our certificate, for mutual TLS")
    syslog_tls_key: Path | None = Field(None, description="the key of our certificate")
    syslog_tls_name: str = Field("", description="name in its certificate, when it is not the host")
    syslog_msgid: Literal["DICOM+RFC3881", "IHE+RFC-3881"] = Field(
        "DICOM+RFC3881", description="MSGID: of DICOM, or of IHE ATNA (ITI-20)"
    )
    source_id: str = Field("", description="our name in the messages (AuditSourceID); empty = the machine's name")
    enterprise_site: str = Field("", description="name of the site in the messages (AuditEnterpriseSiteID)")
    checkpoint_key: Path | None = Field(
        None, description="private key that signs checkpoints; triage audit key makes it; empty = none are signed"
    )
    checkpoint_minutes: float = Field(5.0, gt=0, description="minutes between two checkpoints while rows are written")

    @model_validator(mode="after")
    def _whole(self) -> AuditSettings:
        if (self.syslog_tls_certificate is None) is not (self.syslog_tls_key is None):
            raise ValueError("audit.syslog_tls_certificate and audit.syslog_tls_key go together")
        return self

    def port(self) -> int:
        """The port that is meant."""
        return self.syslog_port or (6514 if self.syslog_transport == "tls" else 514)
