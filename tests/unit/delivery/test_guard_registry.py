"""
The network guard against IANA's special-purpose address registries, row by row.

Each row has one of its addresses. "public" are those few that are reachable from everywhere and in
which the contract names nothing to refuse: whoever operates such a service answers for it.
"""

import pytest

from zbl_provider.delivery.guard import Guard
from zbl_provider.exceptions import BlockedAddress

REFUSED, PUBLIC = False, True

# https://www.iana.org/assignments/iana-ipv4-special-registry
IPV4 = [
    ("0.0.0.0/8", "0.1.2.3", "this network", REFUSED),
    ("0.0.0.0/32", "0.0.0.0", "this host on this network", REFUSED),
    ("10.0.0.0/8", "10.11.12.13", "private use", REFUSED),
    ("100.64.0.0/10", "100.100.100.200", "shared address space", REFUSED),
    ("127.0.0.0/8", "127.53.53.53", "loopback", REFUSED),
    ("169.254.0.0/16", "169.254.169.254", "link local", REFUSED),
    ("172.16.0.0/12", "172.31.255.254", "private use", REFUSED),
    ("192.0.0.0/24", "192.0.0.192", "IETF protocol assignments", REFUSED),
    ("192.0.0.0/29", "192.0.0.2", "IPv4 service continuity prefix", REFUSED),
    ("192.0.0.8/32", "192.0.0.8", "IPv4 dummy address", REFUSED),
    ("192.0.0.9/32", "192.0.0.9", "port control protocol anycast", REFUSED),
    ("192.0.0.10/32", "192.0.0.10", "TURN anycast", REFUSED),
    ("192.0.0.170/32", "192.0.0.170", "NAT64/DNS64 discovery", REFUSED),
    ("192.0.0.171/32", "192.0.0.171", "NAT64/DNS64 discovery", REFUSED),
    ("192.0.2.0/24", "192.0.2.44", "documentation", REFUSED),
    ("192.31.196.0/24", "192.31.196.1", "AS112-v4", PUBLIC),
    ("192.52.193.0/24", "192.52.193.1", "AMT", PUBLIC),
    ("192.88.99.0/24", "192.88.99.1", "6to4 relay anycast, deprecated", REFUSED),
    ("192.88.99.2/32", "192.88.99.2", "6a44 relay anycast", REFUSED),
    ("192.168.0.0/16", "192.168.178.1", "private use", REFUSED),
    ("192.175.48.0/24", "192.175.48.1", "direct delegation AS112 service", PUBLIC),
    ("198.18.0.0/15", "198.19.0.1", "benchmarking", REFUSED),
    ("198.51.100.0/24", "198.51.100.7", "documentation", REFUSED),
    ("203.0.113.0/24", "203.0.113.7", "documentation", REFUSED),
    ("224.0.0.0/4", "239.255.255.250", "multicast", REFUSED),
    ("240.0.0.0/4", "240.0.0.1", "reserved", REFUSED),
    ("255.255.255.255/32", "255.255.255.255", "limited broadcast", REFUSED),
]
# https://www.iana.org/assignments/iana-ipv6-special-registry
IPV6 = [
    ("::1/128", "::1", "loopback", REFUSED),
    ("::/128", "::", "unspecified", REFUSED),
    ("::/96", "::8.8.8.8", "IPv4-compatible, deprecated", REFUSED),
    ("::ffff:0:0/96", "::ffff:10.0.0.1", "IPv4-mapped: judged by what it maps", REFUSED),
    ("::ffff:0:0/96", "::ffff:8.8.8.8", "IPv4-mapped: judged by what it maps", PUBLIC),
    ("::ffff:0:0:0/96", "::ffff:0:8.8.8.8", "IPv4-translated", REFUSED),
    ("64:ff9b::/96", "64:ff9b::169.254.169.254", "NAT64: judged by what it reaches", REFUSED),
    ("64:ff9b::/96", "64:ff9b::8.8.8.8", "NAT64: judged by what it reaches", PUBLIC),
    ("64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", "local NAT64", REFUSED),
    ("100::/64", "100::1", "discard only", REFUSED),
    ("100:0:0:1::/64", "100:0:0:1::1", "dummy prefix", REFUSED),
    ("2001::/23", "2001:1ff::1", "IETF protocol assignments", REFUSED),
    ("2001::/32", "2001:0:808:808::f7f7:f7f7", "Teredo", REFUSED),
    ("2001:1::1/128", "2001:1::1", "port control protocol anycast", REFUSED),
    ("2001:1::2/128", "2001:1::2", "TURN anycast", REFUSED),
    ("2001:1::3/128", "2001:1::3", "DNS-SD SRP anycast", REFUSED),
    ("2001:2::/48", "2001:2::1", "benchmarking", REFUSED),
    ("2001:3::/32", "2001:3::1", "AMT", REFUSED),
    ("2001:4:112::/48", "2001:4:112::1", "AS112-v6", REFUSED),
    ("2001:10::/28", "2001:10::1", "ORCHID, deprecated", REFUSED),
    ("2001:20::/28", "2001:2f::1", "ORCHIDv2", REFUSED),
    ("2001:30::/28", "2001:30::1", "drone remote ID", REFUSED),
    ("2001:db8::/32", "2001:db8::1", "documentation", REFUSED),
    ("2002::/16", "2002:a00:1::", "6to4: judged by what it wraps", REFUSED),
    ("2002::/16", "2002:808:808::1", "6to4: judged by what it wraps", PUBLIC),
    ("2620:4f:8000::/48", "2620:4f:8000::1", "direct delegation AS112 service", PUBLIC),
    ("3fff::/20", "3fff:fff::1", "documentation", REFUSED),
    ("5f00::/16", "5f00::1", "segment routing SIDs", REFUSED),
    ("fc00::/7", "fd00:ec2::254", "unique local", REFUSED),
    ("fe80::/10", "fe80::a9fe:a9fe", "link local", REFUSED),
    ("fec0::/10", "fec0::1", "site local, deprecated", REFUSED),
    ("ff00::/8", "ff02::1", "multicast", REFUSED),
]


@pytest.mark.parametrize(("network", "address", "purpose", "public"), IPV4 + IPV6)
def test_every_special_purpose_network_is_judged(network, address, purpose, public):
    """Of each row of the registries the guard knows whether it is public (Contract 7.1)."""
    if public:
        Guard().check(address)
    else:
        with pytest.raises(BlockedAddress, match=r"\[zbl\] allowed_networks"):
            Guard().check(address)
        Guard.parse(network).check(address)  # which a deployment may open
