"""The group ``web``: safe by default, and one sentence for what cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from triage.domain.account import Role
from triage.settings import WebSettings
from triage.settings.web import IN_WORDS

TLS = {"tls_certificate": Path("c.pem"), "tls_key": Path("k.pem")}
OIDC = {
    "oidc_issuer": "https://idp.example/realm",
    "oidc_client_id": "ich-triage",
    "oidc_roles": ("neuro=radiologist", "cn=admins,ou=x=administrator"),
    "public_url": "https://triage.example",
}


def test_defaults_are_safe() -> None:
    web = WebSettings()
    assert web.host == "127.0.0.1"
    assert not web.secure()
    assert web.trusted_proxies == ()
    assert web.oidc_issuer == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_loopback_needs_nothing(host: str) -> None:
    assert WebSettings(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.10", "triage.example", ""])
def test_beyond_loopback_needs_tls_or_the_words(host: str) -> None:
    with pytest.raises(ValidationError, match=r"web\.tls_certificate"):
        WebSettings(host=host)
    assert WebSettings(host=host, **TLS).secure()
    assert not WebSettings(host=host, plain_http_beyond_loopback=IN_WORDS).secure()


@pytest.mark.parametrize("words", ["yes", "true", IN_WORDS.upper(), f"{IN_WORDS}.", IN_WORDS[:-1]])
def test_other_words_are_no_words(words: str) -> None:
    with pytest.raises(ValidationError, match="exactly"):
        WebSettings(host="0.0.0.0", plain_http_beyond_loopback=words)


def test_behind_a_proxy_with_tls_cookies_are_secure() -> None:
    web = WebSettings(public_url="HTTPS://Triage.Example:8443/")
    assert web.public_url == "https://triage.example:8443"
    assert web.secure()
    assert not WebSettings(public_url="http://triage.example").secure()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://triage.example:443", "https://triage.example"),
        ("http://localhost:80/", "http://localhost"),
        ("https://triage.example:80", "https://triage.example:80"),
        ("https://triage.example:8443", "https://triage.example:8443"),
    ],
)
def test_the_usual_port_is_left_out_as_browsers_do(written: str, meant: str) -> None:
    assert WebSettings(public_url=written).public_url == meant


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"tls_certificate": Path("c.pem")}, "go together"),
        ({"tls_key": Path("k.pem")}, "go together"),
        ({"public_url": "triage.example"}, "public_url"),
        ({"public_url": "ftp://triage.example"}, "public_url"),
        ({"public_url": "https://triage.example/pages"}, "without a path"),
        ({"public_url": "https://triage.example?x=1"}, "without a path"),
        ({"public_url": "https://me@triage.example"}, "without a path"),
        ({"public_url": "https://:443"}, "without a path"),
        ({"public_url": "https://triage.example:99999"}, "(?i)port"),
        ({"public_url": "http://triage.example", "tls_certificate": "c", "tls_key": "k"}, "begins with https://"),
        ({"trusted_proxies": ("proxy.example",)}, "no address or network"),
        ({"trusted_proxies": ("*",)}, "no address or network"),
        ({"viewer_link": "javascript:alert({study_instance_uid})"}, "viewer_link"),
        ({"viewer_link": " JavaScript:alert(1)"}, "viewer_link"),
        ({"viewer_link": "data:text/html,x"}, "viewer_link"),
        ({"viewer_link": "viewer.example/{study_instance_uid}"}, "viewer_link"),
        ({"viewer_link": "https://viewer.example/{patient_id}"}, "knows only"),
        ({"viewer_link": "https://viewer.example/{}"}, "knows only"),
        ({"viewer_link": "https://viewer.example/{study_instance_uid"}, "brace"),
        ({"session_hours": 0}, "session_hours"),
        ({"session_hours": 73}, "session_hours"),
        ({"idle_minutes": -1}, "idle_minutes"),
        ({"port": 0}, "port"),
        ({**OIDC, "oidc_issuer": "http://idp.example"}, "https://"),
        ({**OIDC, "oidc_client_id": ""}, r"web\.oidc_client_id"),
        ({**OIDC, "oidc_roles": ()}, r"web\.oidc_roles"),
        ({**OIDC, "public_url": ""}, r"web\.public_url"),
        ({**OIDC, "oidc_roles": ("neuro",)}, "is not VALUE=radiologist"),
        ({**OIDC, "oidc_roles": ("=radiologist",)}, "is not VALUE=radiologist"),
        ({**OIDC, "oidc_roles": ("neuro=service",)}, "is not VALUE=radiologist"),
    ],
)
def test_what_cannot_work_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        WebSettings(**values)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "https://viewer.example/?study={study_instance_uid}&acc={accession_number}",
        "radiant://?n=a&v={study_instance_uid}",
    ],
)
def test_links_to_viewers(link: str) -> None:
    assert WebSettings(viewer_link=link).viewer_link == link


def test_roles_of_the_provider_may_hold_an_equals_sign() -> None:
    assert WebSettings(**OIDC).role_mapping() == {"neuro": Role.RADIOLOGIST, "cn=admins,ou=x": Role.ADMINISTRATOR}


def test_a_provider_on_this_machine_may_speak_plainly() -> None:
    assert WebSettings(**{**OIDC, "oidc_issuer": "http://127.0.0.1:9000"}).oidc_issuer
