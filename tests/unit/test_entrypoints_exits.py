"""How a process says whether starting it again can help, and what the supervisor makes of it."""

from __future__ import annotations

import pytest

from triage.domain.errors import (
    BundleError,
    ConfigurationError,
    DeviceLost,
    ProviderUnavailable,
    StoreUnavailable,
    TriageError,
)
from triage.entrypoints.cli import exit_status
from triage.entrypoints.supervisor import EXIT_CONFIGURATION, STEADY_SECONDS, cannot_work


@pytest.mark.parametrize("kind", [BundleError, ConfigurationError, ProviderUnavailable])
def test_settings_that_cannot_work_have_a_status_of_their_own(kind: type[TriageError]) -> None:
    assert exit_status(kind("SYNTHETIC")) == EXIT_CONFIGURATION


@pytest.mark.parametrize("kind", [DeviceLost, StoreUnavailable])
def test_what_may_pass_has_another(kind: type[TriageError]) -> None:
    assert exit_status(kind("SYNTHETIC")) == 1


def test_a_role_that_never_got_going_cannot_work() -> None:
    assert cannot_work(EXIT_CONFIGURATION, 1, 2.0)


@pytest.mark.parametrize(
    ("code", "starts", "ran"),
    [(1, 1, 2.0), (EXIT_CONFIGURATION, 2, 2.0), (EXIT_CONFIGURATION, 1, STEADY_SECONDS + 1)],
)
def test_any_other_end_is_no_fault_of_the_settings(code: int, starts: int, ran: float) -> None:
    assert not cannot_work(code, starts, ran)
