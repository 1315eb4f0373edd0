from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.addresses import NETWORKS_MAX, PUBLIC_ONLY, AddressPolicy, is_public
from gateway.errors import PolicyInvalidError


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - refused, not bound
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:1::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2620:4f:8000::1",
        "3fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    """Private, local, metadata, documentation, multicast and embedded forms are refused at every port."""
    assert not is_public(ip_address(address))
    assert not PUBLIC_ONLY.allows(ip_address(address), 443)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2001:200::1", "2606:4700:4700::1111"]
)
def test_public_unicast_is_allowed(address: str) -> None:
    """Addresses beside the special blocks, and well-known hosts, are allowed."""
    assert PUBLIC_ONLY.allows(ip_address(address), 443)


@given(st.ip_addresses())
def test_nothing_that_python_calls_special_is_public(address: IPv4Address | IPv6Address) -> None:
    """The table is never more generous than the registry as `ipaddress` knows it."""
    special = ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_reserved", "is_unspecified")
    if is_public(address):
        assert [name for name in special if getattr(address, name)] == []


@pytest.mark.parametrize("block", ["172.16.0.0/12", "100.64.0.0/10", "198.18.0.0/15", "2001:db8::/32", "2002::/16"])
def test_a_special_block_is_refused_to_its_edges_and_no_further(block: str) -> None:
    """First and last address of a block are inside it, and their outer neighbours are not."""
    network = ip_network(block)
    assert not is_public(network[0])
    assert not is_public(network[-1])
    assert is_public(network[0] - 1)
    assert is_public(network[-1] + 1)


def test_policy_opens_networks_and_names_at_their_ports() -> None:
    """An entry with a port opens that port only, and one without opens all."""
    policy = AddressPolicy.parse(["127.0.0.1:8080", "10.0.0.0/8", "[fd00::/8]:443", "localhost:8080", "fd12::/16"])
    assert policy.allows(ip_address("127.0.0.1"), 8080)
    assert not policy.allows(ip_address("127.0.0.1"), 8081)
    assert policy.allows(ip_address("127.0.0.1"), None)
    assert policy.allows(ip_address("10.9.9.9"), 1)
    assert policy.allows(ip_address("fd00::1"), 443)
    assert not policy.allows(ip_address("fd00::1"), 80)
    assert policy.allows(ip_address("fd12::1"), 80)
    assert policy.allows_name("LocalHost", 8080)
    assert not policy.allows_name("localhost", 80)
    assert policy.allows_name("localhost", None)
    assert not policy.allows_name("other", None)


def test_a_name_that_policy_vouches_for_may_resolve_privately() -> None:
    """`permits` joins the two questions that the effect has to ask."""
    policy = AddressPolicy.parse(["grafana.corp:3000"])
    private = ip_address("10.0.0.5")
    assert policy.permits("grafana.corp", private, 3000)
    assert not policy.permits("grafana.corp", private, 3001)
    assert not policy.permits("evil.example.com", private, 3000)
    assert policy.permits("evil.example.com", ip_address("8.8.8.8"), 3000)


def test_mapped_and_scoped_addresses_cannot_be_opened() -> None:
    """A network of policy covers what it spells, not another address that it would lead to."""
    policy = AddressPolicy.parse(["::/0", "127.0.0.1:80"])
    assert policy.allows(ip_address("::1"), 80)
    assert not policy.allows(ip_address("::ffff:127.0.0.1"), 80)
    assert not policy.allows(ip_address("fe80::1%lo"), 80)


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    """Port 0 and ports past 65535 are refused even for public addresses."""
    assert not PUBLIC_ONLY.allows(ip_address("8.8.8.8"), port)


@pytest.mark.parametrize(
    "entry",
    ["", "localhost", "Local:80", "127.0.0.1/8", "1.2.3:80", "300.0.0.1:80", "[::1", "a:b:c", "h:0", "h:080", "h:65536",
     "10.0.0.0/33", "*.example.com:80", "http://h:80", "a b:80", 5, None],
)  # fmt: skip
def test_what_is_no_entry_is_refused_by_type(entry: object) -> None:
    """A mistake in policy data is an error that names the entry, not a rule that never matches."""
    with pytest.raises(PolicyInvalidError) as refused:
        AddressPolicy.parse([entry])
    assert refused.value.code == "policy.bad_network"


def test_the_number_of_entries_is_bounded() -> None:
    """Policy data cannot hold an unbounded list."""
    with pytest.raises(PolicyInvalidError):
        AddressPolicy.parse(f"h{n}:80" for n in range(NETWORKS_MAX + 1))
