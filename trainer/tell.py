"""How long work speaks to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str], None]
"""Takes one line for people."""
