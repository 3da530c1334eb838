"""A small but real OpenID Connect provider on loopback: discovery, keys, codes with PKCE, signed ID tokens."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey

from tests.web import Browser
from triage.domain.account import Role
from triage.net.oidc import Provider
from triage.services import people
from triage.services.vouched import RoleRule
from triage.web.desk import Desk

CLIENT_ID, SECRET = "ich-triage", "the provider gave us this"
ROLES = {"neuroradiology": Role.RADIOLOGIST, "pacs-admins": Role.ADMINISTRATOR}
JANE = {"preferred_username": "J.Reader", "groups": ["staff", "neuroradiology"]}


@dataclass
class IdentityProvider:
    """What the provider says, and how it misbehaves when a test asks for it.

    ``changed`` claims replace those of the ID token, None removes one; ``signed_by`` and ``algorithm`` sign it
    otherwise; ``described`` changes what it says of itself, ``published`` replaces its keys.
    """

    now: datetime
    person: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)
    published: dict[str, Any] | None = None
    key: Any = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1"}))
    signed_by: Any = None
    algorithm: str = "RS256"
    issuer: str = ""
    asked: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def authorize(self, url: str) -> str:
        """What the browser is sent back to when the person has signed in there."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}"

    def description(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/logout?theme=plain",
            **self.described,
        }

    def keys(self) -> dict[str, Any]:
        return KeySet([self.key]).as_dict(private=False) if self.published is None else self.published

    def token(self, authorization: str | None, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Exchange a code, once, for who has its verifier and our secret."""
        if self.described.get("token_endpoint_auth_methods_supported") == ["client_secret_post"]:
            known = form.get("client_secret") == SECRET
        else:
            basic = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
            known = authorization == f"Basic {basic}"
        query = self._codes.pop(form.get("code", ""), None)
        if not known or query is None or form["redirect_uri"] != query["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if create_s256_code_challenge(form["code_verifier"]) != query["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token(query["nonce"])}

    def id_token(self, nonce: str) -> str:
        at = int(self.now.timestamp())
        told = {
            "iss": self.issuer, "aud": CLIENT_ID, "sub": "subject-1", "iat": at, "exp": at + 300, "nonce": nonce,
            **self.person, **self.changed,
        }  # fmt: skip
        told = {name: value for name, value in told.items() if value is not None}
        if self.algorithm == "none":
            parts = [json.dumps({"alg": "none"}), json.dumps(told)]
            return ".".join(base64.urlsafe_b64encode(p.encode()).decode().rstrip("=") for p in parts) + "."
        key = self.signed_by or self.key
        return jwt.encode({"alg": self.algorithm, "kid": "k1"}, told, key, algorithms=[self.algorithm])


def shared_secret_key() -> OctKey:
    """A key that anybody can make: our secret, which signs as HS256."""
    return OctKey.import_key(SECRET.ljust(32).encode())


@contextmanager
def identity_provider(now: datetime, **how: Any) -> Iterator[IdentityProvider]:
    """Run a provider until the block ends."""
    provider = IdentityProvider(now, **how)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            answers = {"/.well-known/openid-configuration": provider.description, "/keys": provider.keys}
            self._answer(200, answers[self.path]()) if self.path in answers else self._answer(404, {})

        def do_POST(self) -> None:
            provider.asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(*provider.token(self.headers.get("Authorization"), form))

        def _answer(self, status: int, told: dict[str, Any]) -> None:
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - the base class names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def trusting(provider: IdentityProvider, folder: Path, **changes: Any) -> dict[str, Any]:
    """Options of a desk that trusts the provider; ``changes`` replace what it knows of it."""
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n")
    values = {
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "redirect_uri": "http://testserver/oidc/callback",
        "secret_file": secret,
        **changes,
    }
    return {"oidc": Provider(**values), "oidc_roles": RoleRule(roles=ROLES)}


def sign_in(browser: Browser, provider: IdentityProvider, next_page: str = "/password") -> Any:
    """Go to the provider, sign in there, and come back."""
    sent = browser.get("/oidc/login", params={"next": next_page})
    assert sent.status_code == 303, sent.text
    return browser.get(provider.authorize(sent.headers["location"]))


def names(desk: Desk) -> list[tuple[str, Role]]:
    """Every account of a desk, with its role."""
    return [(user.name, user.role) for user in people.everybody(desk.db)[0]]
