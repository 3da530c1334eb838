"""One tree of errors, each with a stable code and whether trying again can help.

::

    TriageError
    ├── UnreadableInstance      bytes that are no DICOM instance we can file
    ├── UnusableSeries          the series cannot be analysed; carries a ReasonCode
    ├── OutOfSpace              the file area is below its floor               (retry)
    ├── StoreUnavailable        database or file area did not answer           (retry)
    ├── StaleState              somebody else moved this row first
    ├── NotFound                no such study, series, job or delivery
    ├── NotPossibleNow          a person asked for what does not go with the state of the study
    ├── BundleError             the model bundle is damaged or does not fit
    ├── ProviderUnavailable     the asked-for ONNX Runtime provider did not load
    ├── DeviceLost              the GPU failed while it was in use; the role begins anew (retry)
    ├── DeliveryRefused         the archive said no; a person must look
    ├── DeliveryUnconfirmed     no answer, an empty answer, or "try later"     (retry)
    ├── SignInRefused           who is asking could not be established
    ├── AuditBroken             the audit chain does not verify
    └── ConfigurationError      a setting that cannot work
"""

from __future__ import annotations

from typing import ClassVar

from triage.domain.finding import ReasonCode


class TriageError(Exception):
    """Root of everything this project raises on purpose."""

    code: ClassVar[str] = "error"
    retry: ClassVar[bool] = False


class UnreadableInstance(TriageError):
    """The bytes are not a DICOM instance that can be filed under a study and a series."""

    code = "unreadable_instance"


class UnusableSeries(TriageError):
    """The series cannot be analysed; ``reason`` is shown on the worklist, the message explains it."""

    code = "unusable_series"

    def __init__(self, reason: ReasonCode, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class OutOfSpace(TriageError):
    """The file area has less free space than its floor."""

    code = "out_of_space"
    retry = True


class StoreUnavailable(TriageError):
    """The database or the file area did not answer."""

    code = "store_unavailable"
    retry = True


class StaleState(TriageError):
    """The row was not in the state that the caller read; somebody else moved it first."""

    code = "stale_state"


class NotFound(TriageError):
    """There is no such study, series, job or delivery."""

    code = "not_found"


class NotPossibleNow(TriageError):
    """What a person asked for does not go with the state of the study; the message says why."""

    code = "not_possible_now"


class BundleError(TriageError):
    """The model bundle is damaged, incomplete or does not fit this release."""

    code = "bundle_error"


class ProviderUnavailable(TriageError):
    """ONNX Runtime did not load the execution provider that the settings ask for."""

    code = "provider_unavailable"


class DeviceLost(TriageError):
    """The GPU failed in a worker that had run on it: the settings do work, and a new process may have the CPU."""

    code = "device_lost"
    retry = True


class DeliveryRefused(TriageError):
    """The destination refused an object for good; sending it again cannot help."""

    code = "delivery_refused"

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class DeliveryUnconfirmed(TriageError):
    """No answer, an empty answer or a temporary refusal: the object may or may not be there."""

    code = "delivery_unconfirmed"
    retry = True

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class SignInRefused(TriageError):
    """The identity provider did not say, or not provably, who is asking, or nobody lets them in."""

    code = "sign_in_refused"


class AuditBroken(TriageError):
    """The audit chain does not verify from its first row to its head."""

    code = "audit_broken"


class ConfigurationError(TriageError):
    """A setting that cannot work; the message names the key and what to write instead."""

    code = "configuration_error"
