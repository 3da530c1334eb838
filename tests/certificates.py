"""Certificates for the TLS tests, made anew for each run: an authority, and what it issues."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme

from triage.net.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class Authority:
    """A certification authority and a folder for the PEM files."""

    folder: Path
    ca: trustme.CA

    @classmethod
    def make(cls, folder: Path, name: str = "ca") -> Authority:
        """A new authority; its certificate lies in ``ca_file``."""
        made = cls(folder / name, trustme.CA(organization_name=f"Synthetic {name}"))
        made.folder.mkdir(parents=True)
        made.ca.cert_pem.write_to_path(made.ca_file)
        return made

    @property
    def ca_file(self) -> Path:
        """The authority's own certificate."""
        return self.folder / "ca.pem"

    def issue(self, *names: str, expired: bool = False) -> tuple[Path, Path]:
        """Certificate and key file for the names or addresses."""
        past = datetime(2020, 1, 2, tzinfo=UTC) if expired else None
        issued = self.ca.issue_cert(
            *(names or ("127.0.0.1",)), not_after=past, not_before=past and datetime(2020, 1, 1, tzinfo=UTC)
        )
        stem = "-".join(("expired" if expired else "valid", *names)).replace(".", "_")
        certificate, key = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def files(self, *names: str, expired: bool = False, **changes: object) -> TlsFiles:
        """A side that shows a certificate from here and asks the other side for one."""
        certificate, key = self.issue(*names, expired=expired)
        values = {"ca_file": self.ca_file, "certificate_file": certificate, "key_file": key, **changes}
        return TlsFiles(**values)
