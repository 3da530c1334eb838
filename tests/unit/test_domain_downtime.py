"""What the banner says, and when: nothing that is off may go unsaid, and nothing that works may be called off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from triage.domain.downtime import (
    DATABASE_DOWN,
    SILENT_AFTER,
    Alarm,
    AlarmCode,
    Drift,
    Heartbeat,
    Link,
    alarms,
    down_since,
)

NOW = datetime(2026, 11, 21, 14, 10, tzinfo=UTC)
ROLES = ("listen", "work", "clock", "send")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def beat(role: str, seconds: float = 1.0, *, stopped: bool = False, owner: str = "") -> Heartbeat:
    return Heartbeat(owner or f"host/1/{role}", role, ago(9000), ago(seconds), stopped)


def all_but(*roles: str) -> list[Heartbeat]:
    return [beat(role) for role in ROLES if role not in roles]


def only(found: list[Alarm]) -> Alarm:
    (alarm,) = found
    return alarm


def test_nothing_is_said_while_everything_runs() -> None:
    assert alarms(all_but(), [Link("pacs", True, ago(5))], NOW, free_bytes=5, floor_bytes=5) == []


@pytest.mark.parametrize(("role", "name"), [("listen", "the listener"), ("work", "the worker"), ("clock", "the clock")])
def test_a_silent_role_turns_the_analysis_off_since_its_last_heartbeat(role: str, name: str) -> None:
    alarm = only(alarms([*all_but(role), beat(role, 480)], [], NOW))
    assert (alarm.code, alarm.title, alarm.reason) == (AlarmCode.ANALYSIS, "AI off", f"{name} does not run")
    assert alarm.since == ago(480)
    assert alarm.blind
    assert "NOT being analysed: read in the usual order" in alarm.meaning
    assert "not a negative one" in alarm.meaning


def test_a_heartbeat_from_before_the_clock_was_set_back_keeps_no_role_alive() -> None:
    alarm = only(alarms([*all_but("work"), beat("work", -3600)], [], NOW))
    assert alarm.reason == "the worker does not run"
    assert alarm.since == NOW
    assert alarms([*all_but("work"), beat("work", -30)], [], NOW) == []  # another machine's clock, a little ahead


def test_a_role_that_stopped_cleanly_is_off_at_once() -> None:
    alarm = only(alarms([*all_but("work"), beat("work", 0.5, stopped=True)], [], NOW))
    assert alarm.reason == "the worker does not run"
    assert alarm.since == ago(0.5)


def test_a_role_that_never_ran_is_off_without_a_time() -> None:
    alarm = only(alarms(all_but("work"), [], NOW))
    assert (alarm.title, alarm.since) == ("AI off", None)


def test_several_roles_make_one_alarm_since_the_first_of_them_was_lost() -> None:
    seen = [*all_but("work", "clock"), beat("work", 60), beat("clock", 90)]
    alarm = only(alarms(seen, [], NOW))
    assert alarm.reason == "the worker and the clock do not run"
    assert alarm.since == ago(90)
    assert only(alarms([beat("send")], [], NOW)).reason == "the listener, the worker and the clock do not run"


def test_one_of_several_workers_is_enough() -> None:
    assert alarms([*all_but(), beat("work", 900, owner="other/2/work")], [], NOW) == []


@pytest.mark.parametrize(("seconds", "off"), [(SILENT_AFTER.total_seconds(), False), (6.1, True), (-30.0, False)])
def test_a_heartbeat_lives_for_six_seconds_and_a_clock_that_is_ahead_harms_nothing(seconds: float, off: bool) -> None:
    assert bool(alarms([*all_but("work"), beat("work", seconds)], [], NOW)) is off


def test_a_silent_sender_says_that_others_are_not_told() -> None:
    alarm = only(alarms([*all_but("send"), beat("send", 30)], [], NOW))
    assert (alarm.code, alarm.since, alarm.blind) == (AlarmCode.SENDER, ago(30), False)
    assert "archive" in alarm.meaning


def test_an_installation_that_sends_nothing_misses_no_sender() -> None:
    assert alarms(all_but("send"), [], NOW) == []


def test_a_destination_that_does_not_answer_is_named_with_its_reason() -> None:
    alarm = only(alarms(all_but(), [Link("pacs", False, ago(60), "Nobody listens there."), Link("b", True, NOW)], NOW))
    assert (alarm.code, alarm.title, alarm.since) == (AlarmCode.LINK, "No answer from pacs", ago(60))
    assert alarm.reason == "Nobody listens there"
    assert only(alarms(all_but(), [Link("pacs", False, NOW)], NOW)).reason


def test_a_queue_that_does_not_move_is_said_although_the_worker_lives() -> None:
    assert alarms(all_but(), [], NOW, oldest_queued_at=ago(600)) == []
    alarm = only(alarms(all_but(), [], NOW, oldest_queued_at=ago(601)))
    assert (alarm.code, alarm.since, alarm.blind) == (AlarmCode.QUEUE, ago(601), True)


def test_a_full_disk_turns_the_analysis_off() -> None:
    alarm = only(alarms(all_but(), [], NOW, free_bytes=1_900_000_000, floor_bytes=2_000_000_000))
    assert (alarm.code, alarm.blind) == (AlarmCode.DISK, True)
    assert "1.9 GB" in alarm.reason
    assert alarms(all_but(), [], NOW, free_bytes=None, floor_bytes=2) == []


def test_drift_is_said_above_its_limit_only() -> None:
    assert alarms(all_but(), [], NOW, drift=Drift(0.2, 0.2)) == []
    alarm = only(alarms(all_but(), [], NOW, drift=Drift(0.31, 0.2)))
    assert (alarm.code, alarm.blind) == (AlarmCode.DRIFT, False)
    assert "0.31" in alarm.reason


def test_the_worst_comes_first() -> None:
    found = alarms(
        [beat("send", 60)],
        [Link("pacs", False, NOW)],
        NOW,
        oldest_queued_at=ago(9999),
        free_bytes=0,
        floor_bytes=1,
        drift=Drift(1.0, 0.2),
    )
    codes = [alarm.code for alarm in found]
    assert codes == ["analysis", "disk", "queue", "sender", "link", "drift"]
    blind = [alarm.blind for alarm in found]
    assert blind == sorted(blind, reverse=True)


def test_no_alarm_words_a_missing_flag_as_a_finding() -> None:
    assert DATABASE_DOWN.blind
    assert "read in the usual order" in DATABASE_DOWN.meaning


def test_down_since_is_none_while_one_of_the_role_runs_or_when_none_ever_did() -> None:
    assert down_since([beat("work"), beat("work", 60, owner="b")], "work", NOW) is None
    assert down_since([], "work", NOW) is None
    assert down_since([beat("work", 50), beat("work", 60, owner="b")], "work", NOW) == ago(50)
