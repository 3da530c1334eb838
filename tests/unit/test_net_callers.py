import pytest

from triage.domain.errors import ConfigurationError
from triage.net.callers import AllowedCaller, CallerList, ip_address, is_loopback


def callers(*entries, host="0.0.0.0"):
    return CallerList.parse(entries, host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_an_empty_list_lets_anyone_in_on_the_loopback(host):
    assert CallerList.parse((), host).refusal("ANYONE", "127.0.0.1") is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "", "scanner.example"])
def test_an_empty_list_off_the_loopback_cannot_be_configured(host):
    with pytest.raises(ConfigurationError, match=r"listener\.allowed_callers is empty.*listen on 127"):
        CallerList.parse((), host)


def test_a_title_without_address_may_call_from_anywhere():
    assert callers("PACS").refusal("PACS", "192.0.2.9") is None


def test_a_title_with_an_address_may_call_from_there_only():
    listed = callers("PACS@192.0.2.9")

    assert listed.refusal("PACS", "192.0.2.9") is None
    assert "'PACS' is not allowed to call from 192.0.2.10" in listed.refusal("PACS", "192.0.2.10")


def test_a_title_with_a_network():
    listed = callers("PACS@10.1.0.0/16")

    assert listed.refusal("PACS", "10.1.255.1") is None
    assert listed.refusal("PACS", "10.2.0.1") is not None


def test_the_same_title_may_call_from_two_places():
    listed = callers("PACS@10.0.0.1", "PACS@10.0.0.2")

    assert [listed.refusal("PACS", f"10.0.0.{n}") is None for n in (1, 2, 3)] == [True, True, False]


def test_an_unknown_title_is_named_in_the_refusal():
    assert "'STRANGER' is not in listener.allowed_callers" in callers("PACS").refusal("STRANGER", "10.0.0.1")


def test_titles_are_case_sensitive_and_spaces_around_them_do_not_count():
    assert callers(" PACS ").refusal("PACS", "10.0.0.1") is None
    assert callers("PACS").refusal("pacs", "10.0.0.1") is not None


def test_ipv4_inside_ipv6_is_the_ipv4_address():
    assert callers("PACS@10.0.0.0/8").refusal("PACS", "::ffff:10.1.2.3") is None


def test_ipv6_with_a_zone():
    assert callers("PACS@fe80::/10").refusal("PACS", "fe80::1%eth0") is None


def test_a_title_may_hold_an_at_sign():
    assert AllowedCaller.parse("A@B@10.0.0.1").ae_title == "A@B"


@pytest.mark.parametrize("entry", ["", "PACS@", "PACS@nowhere", "PACS@10.0.0.1/8", "@10.0.0.1", "SEVENTEEN_LETTERS"])
def test_an_entry_that_cannot_be_read_says_how_to_write_it(entry):
    with pytest.raises(ConfigurationError, match=r"write AE, AE@10\.1\.2\.3 or AE@10\.1\.0\.0/16"):
        AllowedCaller.parse(entry)


def test_what_is_a_loopback():
    assert is_loopback("::ffff:127.0.0.1")
    assert not is_loopback("192.0.2.1")
    assert str(ip_address("::ffff:192.0.2.1")) == "192.0.2.1"
