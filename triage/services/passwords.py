"""Passwords: what may be one, and how one is checked without telling whether the name exists."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from triage.domain.errors import ConfigurationError

SHORTEST = 12
LONGEST = 1024
AT_A_TIME = 2
"""Checks that run at the same time: each takes 64 MiB, and a stranger decides how many are asked for."""


class Passwords:
    """Argon2id with the parameters of RFC 9106 for little memory, unless a test asks for less."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = threading.BoundedSemaphore(AT_A_TIME)
        self._nobody = self._hasher.hash(secrets.token_hex())
        self._key = secrets.token_bytes(32)

    def hash(self, name: str, password: str) -> str:
        """The hash to keep of a new password.

        Raises
        ------
        ConfigurationError
            It is too short, too long, or the name.
        """
        if len(password) < SHORTEST:
            raise ConfigurationError(
                f"A password needs at least {SHORTEST} characters; a short sentence is a good one."
            )
        if len(password) > LONGEST:
            raise ConfigurationError(f"A password has at most {LONGEST} characters.")
        if password.strip().lower() == name.lower():
            raise ConfigurationError("The name cannot be the password.")
        with self._turns:
            return self._hasher.hash(_bytes(password))

    def right(self, password_hash: str | None, password: str) -> bool:
        """Whether the password fits; a missing hash fits nothing and takes as long to say so."""
        with self._turns:
            try:
                self._hasher.verify(password_hash or self._nobody, _bytes(password))
            except (VerificationError, InvalidHashError):
                return False
        return password_hash is not None

    def renewed(self, password_hash: str, password: str) -> str:
        """The hash of a right password, made anew where its parameters are not today's."""
        if not self._hasher.check_needs_rehash(password_hash):
            return password_hash
        with self._turns:
            return self._hasher.hash(_bytes(password))

    def disguise(self, name: str) -> str:
        """A name that no user has, so that a password typed into the wrong field is nowhere kept."""
        return hmac.new(self._key, name.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _bytes(password: str) -> bytes:
    # A form can hold half a surrogate pair; it fits no password, and is no reason to fail.
    return password[: LONGEST + 1].encode("utf-8", "surrogatepass")
