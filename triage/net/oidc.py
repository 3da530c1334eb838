"""Sign-in by a hospital's identity provider: OpenID Connect Core 1.0, authorization code with PKCE (RFC 6749, 7636).

Nothing is remembered between the two steps: the browser carries the `Challenge` to the provider and back.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from triage.domain.errors import SignInRefused
from triage.net.tls import TlsFiles

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key that the provider alone has; never "none", never a shared secret."""

CLOCK_SKEW_SECONDS: Final = 60
LARGEST_ANSWER: Final = 1024 * 1024
AT_A_TIME: Final = 8
"""Browsers for which the provider is asked at the same time: one that hangs must not take every thread of the pages."""


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider, and what we are to it."""

    issuer: str
    client_id: str
    redirect_uri: str
    secret_file: Path | None = None
    ca_file: Path | None = None
    timeout_seconds: float = 10.0
    turns: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(AT_A_TIME), repr=False, compare=False
    )


@dataclass(frozen=True, slots=True)
class Challenge:
    """What ties the answer to the question: kept by the browser alone, in a cookie that no script can read."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def fresh(cls) -> Challenge:
        """256 random bits each."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))


def authorization_url(provider: Provider, challenge: Challenge) -> str:
    """Where to send the browser.

    Raises
    ------
    SignInRefused
        The provider does not answer, or is not the one of the settings.
    """
    with _client(provider) as client:
        endpoint = _endpoint(_described(provider, client), "authorization_endpoint", provider)
    url: str = prepare_grant_uri(
        endpoint,
        client_id=provider.client_id,
        response_type="code",
        redirect_uri=provider.redirect_uri,
        scope="openid profile email",
        state=challenge.state,
        nonce=challenge.nonce,
        code_challenge=create_s256_code_challenge(challenge.verifier),
        code_challenge_method="S256",
    )
    return url


def sign_out_url(provider: Provider) -> str:
    """Where a browser ends its session at the provider (OpenID Connect RP-Initiated Logout 1.0).

    Raises
    ------
    SignInRefused
        The provider does not answer, or has no such place.
    """
    with _client(provider) as client:
        endpoint = _endpoint(_described(provider, client), "end_session_endpoint", provider)
    # No post_logout_redirect_uri: a provider that does not know it would refuse, and end nothing.
    url: str = add_params_to_uri(endpoint, [("client_id", provider.client_id)])
    return url


def claims(provider: Provider, challenge: Challenge, answer: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """What the provider says of the person whose browser came back with ``answer``, proved by its signature.

    Raises
    ------
    SignInRefused
        The answer is an error or belongs to another question, or the provider's statement does not hold.
    """
    if not secrets.compare_digest(answer.get("state", "").encode(), challenge.state.encode()):
        raise SignInRefused("The answer of the identity provider does not belong to this sign-in; please begin again.")
    if answer.get("error") or not answer.get("code"):
        raise SignInRefused("The identity provider did not let you sign in.")
    if answer.get("iss") not in (None, provider.issuer):  # RFC 9207
        raise SignInRefused("The answer comes from another identity provider than the one of the settings.")
    with _client(provider) as client:
        described = _described(provider, client)
        token = _id_token(provider, challenge, answer["code"], described, client)
        keys = _asked(client, "GET", _endpoint(described, "jwks_uri", provider), provider)
    return _verified(provider, challenge, token, keys, now)


def _verified(
    provider: Provider, challenge: Challenge, token: str, keys: dict[str, Any], now: datetime
) -> dict[str, Any]:
    registry = jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=CLOCK_SKEW_SECONDS,
        iss={"essential": True, "value": provider.issuer},
        aud={"essential": True, "value": provider.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": challenge.nonce},
    )
    try:
        told: dict[str, Any] = jwt.decode(token, KeySet.import_key_set(keys), algorithms=list(ALGORITHMS)).claims  # type: ignore[arg-type]
        registry.validate(told)
    except (JoseError, ValueError, TypeError, KeyError) as exc:
        raise SignInRefused(f"What the identity provider says of you does not hold ({type(exc).__name__}).") from exc
    if told.get("azp", provider.client_id) != provider.client_id:
        raise SignInRefused("What the identity provider says of you is meant for another application.")
    return told


def _id_token(
    provider: Provider, challenge: Challenge, code: str, described: dict[str, Any], client: httpx.Client
) -> str:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": provider.redirect_uri,
        "client_id": provider.client_id,
        "code_verifier": challenge.verifier,
    }
    secret = _secret(provider)
    basic = "client_secret_basic" in described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    if secret is not None and not basic:
        form["client_secret"] = secret
    auth = httpx.BasicAuth(provider.client_id, secret) if secret is not None and basic else None
    endpoint = _endpoint(described, "token_endpoint", provider)
    token = _asked(client, "POST", endpoint, provider, data=form, auth=auth).get("id_token")
    if not isinstance(token, str):
        raise SignInRefused("The identity provider answered without saying who you are (no id_token).")
    return token


def _described(provider: Provider, client: httpx.Client) -> dict[str, Any]:
    url = f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration"
    described = _asked(client, "GET", url, provider)
    if described.get("issuer") != provider.issuer:
        raise SignInRefused("The identity provider calls itself otherwise than web.oidc_issuer does.")
    return described


def _endpoint(described: dict[str, Any], name: str, provider: Provider) -> str:
    url = described.get(name)
    # A provider on https has all of itself there; one on loopback may speak plainly.
    if not isinstance(url, str) or urlsplit(url).scheme not in ("https", urlsplit(provider.issuer).scheme):
        raise SignInRefused(f"The identity provider does not say where its {name} is, or not with https.")
    return url


def _asked(client: httpx.Client, method: str, url: str, provider: Provider, **how: Any) -> dict[str, Any]:
    try:
        with client.stream(method, url, **how) as answer:
            content = b""
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > LARGEST_ANSWER:
                    raise SignInRefused("The identity provider's answer is too long.")
            answer.raise_for_status()
            told = httpx.Response(200, content=content).json()
    except httpx.HTTPStatusError as exc:
        raise SignInRefused(f"The identity provider answered with HTTP status {exc.response.status_code}.") from exc
    except (httpx.TransportError, httpx.InvalidURL, ValueError) as exc:
        raise SignInRefused(
            f"The identity provider {provider.issuer} does not answer as one: is it running, and is web.oidc_ca right?"
        ) from exc
    if not isinstance(told, dict):
        raise SignInRefused("The identity provider's answer is no JSON object.")
    return told


@contextmanager
def _client(provider: Provider) -> Iterator[httpx.Client]:
    if not provider.turns.acquire(blocking=False):
        raise SignInRefused("The identity provider keeps too many people waiting at the moment; please try again soon.")
    try:
        # Not httpx's own choice of authorities, which a site cannot add to.
        verify = TlsFiles(ca_file=provider.ca_file).client_context()
        # A proxy named in the environment would see who signs in.
        with httpx.Client(
            verify=verify, timeout=provider.timeout_seconds, follow_redirects=False, trust_env=False
        ) as client:
            yield client
    finally:
        provider.turns.release()


def _secret(provider: Provider) -> str | None:
    if provider.secret_file is None:
        return None
    try:
        return provider.secret_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SignInRefused("web.oidc_client_secret_file cannot be read; the administrator must look.") from exc
