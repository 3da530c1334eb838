"""TLS as a site configures it: on our listener, and to an archive with the right and with the wrong certificate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.daemon import running_daemon, running_on
from tests.builders import ct_series, ellipse_head
from tests.certificates import Authority
from tests.fakes import counting_archive
from tests.onnx_models import tiny_bundle
from tests.peers import outgoing
from triage.domain.errors import DeliveryUnconfirmed
from triage.net.scu import RemoteAe, echo, send
from triage.net.tls import TlsFiles

pytestmark = pytest.mark.slow


def test_a_site_with_tls_on_both_sides(tmp_path: Path, sqlite_copies: list[str]) -> None:
    site, stranger = Authority.make(tmp_path, "site"), Authority.make(tmp_path, "stranger")
    ours = site.files()
    listener = {
        "TRIAGE_LISTENER__TLS_CERTIFICATE": str(ours.certificate_file),
        "TRIAGE_LISTENER__TLS_KEY": str(ours.key_file),
        "TRIAGE_LISTENER__TLS_CA": str(site.ca_file),
    }
    series = ct_series(18, 64, 64, hu=lambda k: ellipse_head(64, 64, height=k / 18 - 0.5))
    study = str(series[0].StudyInstanceUID)
    with (
        counting_archive(tls=site.files()) as good,
        counting_archive(tls=stranger.files()) as bad,
        running_daemon(
            tmp_path / "daemon",
            sqlite_copies[0],
            extra=_destination("good", good.remote.port, ours)
            + _destination("bad", bad.remote.port, ours)
            + running_on(tiny_bundle(tmp_path / "bundle")),
            environment=listener,
            tls=ours,
        ) as daemon,
    ):
        plain = RemoteAe("ICHTRIAGE", "127.0.0.1", daemon.remote.port)
        with pytest.raises(DeliveryUnconfirmed, match="TLS"):
            echo(plain, timeout_seconds=3)
        assert all(o.error is None for o in send(daemon.remote, outgoing(series)))
        row = daemon.wait_for(study, lambda r: any(o.state == "delivered" for o in r.objects))
        assert {o.state for o in row.objects if o.destination == "good"} == {"delivered"}
        shown = json.loads(daemon.cli("show", study, "--json"))
        refusals = daemon.cli("audit", "--json")
    assert set(good.contents) == {o.sop_instance_uid for o in row.objects if o.destination == "good"}
    assert bad.contents == {}
    (error,) = {d["error"] for d in shown["deliveries"] if d["destination"] == "bad"}
    assert "certificate" in error
    assert "tls_ca" in error or "ca_file" in error
    assert error.count(". ") <= 1, "one sentence, and perhaps one more that says what to do"
    assert "association_refused" in refusals


def _destination(name: str, port: int, ours: TlsFiles) -> str:
    return f"""
[[destinations]]
name = "{name}"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {port}
objects = ["SR"]
tls = true
tls_ca = {json.dumps(str(ours.ca_file))}
tls_certificate = {json.dumps(str(ours.certificate_file))}
tls_key = {json.dumps(str(ours.key_file))}
"""
