"""The cache of pictures never holds more than it may, and drops what was not asked for longest."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from triage.web.byte_cache import ByteCache


def test_a_value_is_made_once_and_then_kept() -> None:
    cache, made = ByteCache(100), []
    for _ in range(3):
        assert cache.get("a", lambda: made.append(1) or b"12345", len) == b"12345"
    assert (len(made), cache.size_bytes, len(cache)) == (1, 5, 1)


def test_what_was_not_asked_for_longest_goes_first() -> None:
    cache = ByteCache(30)
    for key in "abc":
        cache.get(key, lambda: bytes(10), len)
    cache.get("a", lambda: bytes(10), len)
    cache.get("d", lambda: bytes(10), len)
    made = []
    for key in "adcb":
        cache.get(key, lambda key=key: made.append(key) or bytes(10), len)
    assert made == ["b"]


def test_what_is_larger_than_the_cache_is_made_each_time_and_drops_nothing() -> None:
    cache = ByteCache(30)
    cache.get("a", lambda: bytes(20), len)
    assert len(cache.get("huge", lambda: bytes(31), len)) == 31
    assert (cache.size_bytes, len(cache)) == (20, 1)


def test_what_was_dropped_is_made_anew_and_takes_no_room() -> None:
    cache = ByteCache(30)
    cache.get("a", lambda: b"old", len)
    for key in ("a", "a", "never kept"):
        cache.drop(key)
    assert (cache.size_bytes, len(cache)) == (0, 0)
    assert cache.get("a", lambda: b"new", len) == b"new"


def test_what_failed_is_not_kept() -> None:
    cache = ByteCache(30)
    with pytest.raises(OSError, match="gone"):
        cache.get("a", lambda: (_ for _ in ()).throw(OSError("gone")), len)
    assert cache.get("a", lambda: b"x", len) == b"x"


def test_the_limit_holds_whatever_threads_ask_for() -> None:
    cache = ByteCache(1000)

    def ask(seed: int) -> int:
        chance, most = random.Random(seed), 0
        for _ in range(500):
            key = chance.randrange(60)
            cache.get(key, lambda: bytes(chance.randrange(1, 300)), len)
            most = max(most, cache.size_bytes)
        return most

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(ask, range(8))) <= 1000
    assert len(cache) > 0


def test_a_cache_without_room_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="room"):
        ByteCache(0)
