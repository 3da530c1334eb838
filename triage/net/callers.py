"""Who may associate with the listener: calling AE titles, each bound to addresses when the setting says so."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from triage.domain.errors import ConfigurationError
from triage.domain.study import AeTitle

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class AllowedCaller:
    """One entry of ``listener.allowed_callers``; without a network the AE title may call from anywhere."""

    ae_title: str
    network: Network | None

    @classmethod
    def parse(cls, entry: str) -> AllowedCaller:
        """Read ``AE``, ``AE@10.1.2.3`` or ``AE@10.1.0.0/16``.

        Raises
        ------
        ConfigurationError
            If the title or the address cannot be read.
        """
        title, at, address = entry.rpartition("@") if "@" in entry else (entry, "", "")
        try:
            network = ipaddress.ip_network(address.strip()) if at else None
            return cls(AeTitle(title).value, network)
        except ValueError as exc:
            raise ConfigurationError(
                f"listener.allowed_callers: {entry!r} cannot be read ({exc}): write AE, AE@10.1.2.3 or AE@10.1.0.0/16."
            ) from exc

    def admits(self, ae_title: str, address: Address) -> bool:
        """Whether this entry lets the caller in."""
        return ae_title == self.ae_title and (self.network is None or address in self.network)


@dataclass(frozen=True, slots=True)
class CallerList:
    """The whole setting. Empty means anyone, which is allowed on a loopback address only."""

    entries: tuple[AllowedCaller, ...]

    @classmethod
    def parse(cls, entries: tuple[str, ...], host: str) -> CallerList:
        """Read the setting for a listener on ``host``.

        Raises
        ------
        ConfigurationError
            If an entry cannot be read, or the list is empty and ``host`` is reachable from outside.
        """
        if not entries and not is_loopback(host):
            raise ConfigurationError(
                f"listener.host {host!r} is reachable from outside and listener.allowed_callers is empty: "
                "list the AE titles that may send, such as PACS@10.1.2.3, or listen on 127.0.0.1."
            )
        return cls(tuple(AllowedCaller.parse(entry) for entry in entries))

    def refusal(self, ae_title: str, address: str) -> str | None:
        """Why a caller is not let in, in one sentence; None when it is."""
        if not self.entries:
            return None
        peer = ip_address(address)
        if any(entry.admits(ae_title, peer) for entry in self.entries):
            return None
        if any(entry.ae_title == ae_title for entry in self.entries):
            return f"AE title {ae_title!r} is not allowed to call from {address}: see listener.allowed_callers."
        return f"AE title {ae_title!r} is not in listener.allowed_callers."


def ip_address(text: str) -> Address:
    """An address as the allow list sees it: IPv4 also where a dual-stack socket shows it inside IPv6."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on ``host``; a name other than localhost counts as not."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
