"""Who may do what on the pages and in the API."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What an account is for. An administrator may do all that a radiologist may; a service only reads the API."""

    RADIOLOGIST = "radiologist"
    ADMINISTRATOR = "administrator"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Person:
    """Who is asking: a signed-in user, or a service by its token. ``name`` is what the audit log says."""

    name: str
    role: Role
