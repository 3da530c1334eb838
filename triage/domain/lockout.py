"""How long a login must wait after failures: long enough for guessing to be hopeless, short enough for a reader."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

FREE_BY_NAME: Final = 5
"""Wrong passwords that a name may have before it must wait."""
FREE_BY_ADDRESS: Final = 20
"""The same of an address, behind which a whole reading room may sit."""
LONGEST_SECONDS: Final = 900
"""An attacker must not keep a radiologist out for longer than this at a time."""
FORGOTTEN_AFTER: Final = timedelta(hours=1)
"""Failures before a pause of this length no longer count."""


def delay_seconds(failures: int, free: int) -> int:
    """Seconds to wait after so many failures in a row, doubled with each one beyond the free ones."""
    beyond = failures - free
    if beyond < 0:
        return 0
    return min(LONGEST_SECONDS, 5 << min(beyond, 20))
