import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.delivery.guard import Guard, parse_ipv4
from zbl_provider.exceptions import BlockedAddress, ConfigurationError

# IANA's special-purpose registries, and the metadata services that the contract names.
BLOCKED_V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
    "168.63.129.16/32", "169.254.169.254/32", "100.100.100.200/32",
]  # fmt: skip
BLOCKED_V6 = [
    "::/128", "::1/128", "::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23",
    "2001::/32", "2001:2::/48", "2001:10::/28", "2001:db8::/32", "3fff::/20", "5f00::/16",
    "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::254/128",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
    "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "52.1.2.3",
    "2606:4700:4700::1111", "2a00:1450:4001:830::200e", "2001:4860:4860::8888", "2001:200::1",
]  # fmt: skip

blocked_v4 = st.sampled_from(BLOCKED_V4).flatmap(
    lambda network: st.ip_addresses(network=ipaddress.ip_network(network))
)
public_v4 = st.ip_addresses(v=4).filter(
    lambda address: not any(address in ipaddress.ip_network(network) for network in BLOCKED_V4)
)


def is_blocked(address, guard=None):
    try:
        (guard or Guard()).check(str(address))
    except BlockedAddress:
        return True
    return False


def wrappings(address):
    """Give the IPv6 addresses by which this IPv4 address is really reached."""
    bits = int(address)
    return [
        ipaddress.IPv6Address((0xFFFF << 32) | bits),
        ipaddress.IPv6Address((0x64FF9B << 96) | bits),
        ipaddress.IPv6Address((0x2002 << 112) | bits << 80 | 1),
    ]


@pytest.mark.parametrize("network", BLOCKED_V4 + BLOCKED_V6)
def test_special_networks_are_blocked_to_their_edges(network):
    """The first and last address of every special-purpose network is refused (Contract 7.1)."""
    parsed = ipaddress.ip_network(network)
    assert is_blocked(parsed[0])
    assert is_blocked(parsed[-1])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass(address):
    """An address next to a special network, or anywhere else in public, is let through (7.1)."""
    assert not is_blocked(address)


@given(blocked_v4)
def test_wrapping_an_ipv4_address_does_not_help_it(address):
    """A refused IPv4 address is refused mapped, in NAT64 and in 6to4 as well (Contract 7.1)."""
    assert is_blocked(address)
    for wrapped in wrappings(address):
        assert is_blocked(wrapped)


@given(public_v4)
def test_a_public_ipv4_address_may_be_wrapped(address):
    """NAT64 is how an IPv6-only network reaches the public IPv4 internet (Contract 7.1)."""
    for wrapped in wrappings(address):
        assert not is_blocked(wrapped)


@given(blocked_v4)
def test_teredo_is_blocked_whatever_it_carries(address):
    """Teredo carries its IPv4 address inverted; it is refused as a whole (Contract 7.1)."""
    hidden = int(address) ^ 0xFFFFFFFF
    assert is_blocked(ipaddress.IPv6Address((0x20010000 << 96) | (0x08080808 << 64) | hidden))


@given(st.ip_addresses(v=6).filter(lambda address: int(address) >> 125 != 1))
def test_ipv6_outside_global_unicast_is_blocked(address):
    """Of IPv6 only 2000::/3 is public, NAT64 and mapped addresses apart (Contract 7.1)."""
    wrapped = any(
        address in ipaddress.ip_network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96")
    )
    assert wrapped or is_blocked(address)


@pytest.mark.parametrize(
    "spelling",
    ["127.1", "127.0.1", "0x7f.1", "0x7F000001", "2130706433", "0177.0.0.1", "017700000001", "0",
     "0x0", "0xa9fea9fe", "169.16689662", "::ffff:7f00:1", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1",
     "::127.0.0.1", "fe80::1%eth0", "0X7f.0.0.0x1"],
)  # fmt: skip
def test_odd_spellings_are_read_as_the_resolver_reads_them(spelling):
    """An address in octal, hexadecimal, one number or fewer parts is still itself (7.1)."""
    assert is_blocked(spelling)


@pytest.mark.parametrize(
    ("spelling", "address"),
    [("0x08080808", "8.8.8.8"), ("8.8.2056", "8.8.8.8"), ("010.8.8.8", "8.8.8.8"),
     ("4294967295", "255.255.255.255"), ("1.0xffffff", "1.255.255.255")],
)  # fmt: skip
def test_an_odd_spelling_has_one_meaning(spelling, address):
    """A part is octal after 0, hexadecimal after 0x, and the last one fills the rest (7.1)."""
    assert str(parse_ipv4(spelling)) == address


@given(st.ip_addresses(v=4))
def test_plain_spellings_are_read_as_they_stand(address):
    """Dotted decimals mean what they say (Contract 7.1)."""
    assert parse_ipv4(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", ".", "256.1.1.1", "1.2.3.4.5", "1..2", "08.1.1.1", "4294967296", "1.2.3.256", "-1",
     "localhost", "1.2.3.4 ", "\uff11.1.1.1", "::g", "1:2", "127.0.0.1\n", "1e3"],
)  # fmt: skip
def test_what_is_no_address_is_blocked(text):
    """What cannot be read as an address is refused: the guard fails closed (Contract 7.1)."""
    assert is_blocked(text)


def test_allowed_networks_open_what_they_name_and_no_more():
    """`[zbl] allowed_networks` opens a deployment's own networks (Contract 7.1)."""
    guard = Guard.parse("10.20.0.0/16, 127.0.0.1/32\n fd12:3456::/32")
    for address in ("10.20.30.40", "127.0.0.1", "0x7f.1", "::ffff:10.20.0.1", "fd12:3456::1"):
        assert not is_blocked(address, guard)
    for address in ("10.21.0.0", "127.0.0.2", "::1", "fd12:3457::1", "192.168.0.1"):
        assert is_blocked(address, guard)


@pytest.mark.parametrize("text", [None, "", " , \n"])
def test_no_allowed_networks_opens_nothing(text):
    """An empty option opens nothing (Contract 7.1)."""
    assert is_blocked("127.0.0.1", Guard.parse(text))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "10.0.0.0/33", "10.0.0.0-10.0.0.9"])
def test_a_network_that_is_none_is_refused(text):
    """An option that cannot be read is refused, naming itself (Contract 7.1)."""
    with pytest.raises(ConfigurationError, match="allowed_networks"):
        Guard.parse(text)


def test_the_refusal_names_the_option():
    """A blocked address tells which option opens it (Contract 7.1)."""
    with pytest.raises(BlockedAddress, match=r"\[zbl\] allowed_networks") as caught:
        Guard().check("10.0.0.1")
    assert caught.value.address == "10.0.0.1"
