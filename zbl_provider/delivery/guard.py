"""Which addresses may be reached: the public ones, and what the deployment has opened."""

from __future__ import annotations

import re
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)
from typing import TYPE_CHECKING, Final, Self

from zbl_provider.exceptions import BlockedAddress, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

# The tables are written out, not taken from `ipaddress`, whose idea of "private" changes with the
# Python version. Source: IANA's special-purpose address registries. A few of their entries are
# globally reachable (anycast relays and the like); no receiver of webhooks lives there.
_BLOCKED_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host agent: a metadata service on a public address
        "169.254.0.0/16",  # link-local, metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")  # everything else is special or unassigned
_BLOCKED_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
# Where an IPv4 address rides in an IPv6 one: the network, and how many bits stand to its right.
_WRAPPED_V4: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64; its local-use sibling 64:ff9b:1::/48 stays blocked
    (IPv6Network("2002::/16"), 80),  # 6to4
)
_IPV4_PARTS: Final = 4
_BYTE: Final = 256
_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{0,64}|[0-9]{1,64}", re.ASCII)


class Guard:
    """
    The network guard (Contract 7.1).

    It judges addresses, never names: whoever connects must connect to the address that was judged.

    :param allowed_networks: networks that the deployment opens for its own receivers
    """

    __slots__ = ("_allowed",)

    def __init__(self, allowed_networks: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._allowed = tuple(allowed_networks)

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """
        Read the option ``[zbl] allowed_networks``.

        :param text: CIDRs, separated by commas or blanks
        :raises ConfigurationError: if one of them is no network
        """
        networks = []
        for word in filter(None, re.split(r"[,\s]+", text or "")):
            try:
                networks.append(ip_network(word))
            except ValueError:
                raise ConfigurationError(
                    "[zbl] allowed_networks",
                    f"{word!r} is not a network",
                    "Write CIDRs such as 10.20.0.0/16, separated by commas",
                ) from None
        return cls(networks)

    def check(self, address: str) -> None:
        """
        Let a permitted address pass.

        :param address: an IPv4 or IPv6 address in any spelling that the system's resolver knows
        :raises BlockedAddress: if it is not public and not in an allowed network, or is none at all
        """
        # A scope ("fe80::1%eth0") names an interface, not another address.
        bare = address.partition("%")[0]
        try:
            parsed = IPv6Address(bare) if ":" in bare else parse_ipv4(bare)
        except AddressValueError:
            parsed = None
        if parsed is None or not self._permits(parsed):
            raise BlockedAddress(address)

    def _permits(self, address: IPv4Address | IPv6Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        if isinstance(address, IPv4Address):
            return not any(address in network for network in _BLOCKED_V4)
        for network, shift in _WRAPPED_V4:
            if address in network:
                return self._permits(IPv4Address(int(address) >> shift & 0xFFFFFFFF))
        return address in _GLOBAL_V6 and not any(address in network for network in _BLOCKED_V6)


def parse_ipv4(host: str) -> IPv4Address | None:
    """
    Read an IPv4 address in the spellings of the C library and of browsers.

    :param host: one to four parts, each decimal, octal (``0177``) or hexadecimal (``0x7f``); the
        last part fills the rest, so that ``127.1``, ``0x7f.1`` and ``2130706433`` are 127.0.0.1
    :returns: the address, or None if it is none
    """
    parts = host.split(".")
    if len(parts) > _IPV4_PARTS or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *leading, last = (
            int(part[2:] or "0", 16)
            if part[:2] in ("0x", "0X")
            else int(part, 8 if part.startswith("0") else 10)
            for part in parts
        )
    except ValueError:  # an octal with an 8 in it
        return None
    if max(leading, default=0) >= _BYTE or last >= _BYTE ** (_IPV4_PARTS - len(leading)):
        return None
    high = sum(octet << (8 * (3 - place)) for place, octet in enumerate(leading))
    return IPv4Address(high + last)
