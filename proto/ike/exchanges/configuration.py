"""Configuration payloads, both roles: a client asks for internal addresses, servers and routes in
IKE_AUTH (RFC 7296 2.19, 3.15, RFC 8598).

Rules: an address that a client names is a hint. A session keeps the addresses that it has, through
resumptions and rekeys (RFC 5723 5, R44); it has one of each family at most. Only if none at all can
be given, INTERNAL_ADDRESS_FAILURE takes the place of the Child SA (RFC 7296 3.15.4). What is asked
for and isn't known is ignored; CFG_SET is acknowledged, and does nothing.
"""

import ipaddress

import msgspec

from proto.ike.core import Context, SaCore
from proto.ike.enums import CfgAttribute, CfgType, NotifyType, TsType
from proto.ike.message import Message
from proto.ike.payloads import CpPayload, NotifyPayload, TrafficSelector
from proto.ike.pools import Address, Configured, Leased, Network, Pool
from proto.ike.selectors import PORT_MAX

_ADDRESS = {4: CfgAttribute.INTERNAL_IP4_ADDRESS, 6: CfgAttribute.INTERNAL_IP6_ADDRESS}
_DNS = {4: CfgAttribute.INTERNAL_IP4_DNS, 6: CfgAttribute.INTERNAL_IP6_DNS}
_SUBNET = {4: CfgAttribute.INTERNAL_IP4_SUBNET, 6: CfgAttribute.INTERNAL_IP6_SUBNET}
_OCTETS = {4: 4, 6: 16}
FAILURE = NotifyPayload(NotifyType.INTERNAL_ADDRESS_FAILURE)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a CFG_REQUEST came to."""

    leased: tuple[Leased, ...]
    reply: CpPayload | None = None
    takes: bool = False
    """Are the addresses new to the session? Then the write that leases them decides."""
    failure: NotifyPayload | None = None
    """Goes in the place of the Child SA."""


def respond(core: SaCore, message: Message, ctx: Context) -> Answer:
    """Answer the CFG_REQUEST of an IKE_AUTH request, if there is one; `core` has its chain, and the
    addresses of the ticket.
    """
    asked = message.find(CpPayload)
    if asked is None or asked.cfg_type != CfgType.CFG_REQUEST:
        return Answer(core.leased)
    pools = ctx.connection_of(core).pools
    wanted = {version: _wanted(asked, version) for version in (4, 6)}
    families = [version for version, (asks, _hint) in wanted.items() if asks]
    if not families:
        return Answer(core.leased, _reply(core.leased, pools))
    leased, takes = core.leased, False
    if not leased:
        leased = _choose(core.chain, pools, wanted, ctx)
        takes = bool(leased)
    if not leased:
        return Answer((), failure=FAILURE)
    return Answer(leased, _reply(leased, pools), takes)


def selectors(leased: tuple[Leased, ...]) -> tuple[TrafficSelector, ...]:
    """The client's side of a Child SA: its internal addresses and nothing else."""
    return tuple(
        TrafficSelector(
            TsType.TS_IPV4_ADDR_RANGE if len(row.packed) == 4 else TsType.TS_IPV6_ADDR_RANGE,
            0, 0, PORT_MAX, row.packed, row.packed,
        )
        for row in leased
    )  # fmt: skip


def request(versions: tuple[int, ...], hints: tuple[Address, ...] = ()) -> CpPayload:
    """A CFG_REQUEST for an address of each of `versions`, with servers and routes; `hints`: what
    would be liked.
    """
    attributes: list[tuple[int, bytes]] = []
    for version in versions:
        liked = next((a.packed for a in hints if a.version == version), b"")
        if version == 6 and liked:
            liked += b"\x80"
        attributes.append((_ADDRESS[version], liked))
    for version in versions:
        attributes += [(_DNS[version], b""), (_SUBNET[version], b"")]
    attributes.append((CfgAttribute.INTERNAL_DNS_DOMAIN, b""))
    return CpPayload(CfgType.CFG_REQUEST, tuple(attributes))


def accept(given: CpPayload | None) -> Configured | None:
    """What the CFG_REPLY of an IKE_AUTH response gives; what is malformed in it is left out."""
    if given is None or given.cfg_type != CfgType.CFG_REPLY:
        return None
    addresses: list[Address] = []
    dns: list[Address] = []
    subnets: list[Network] = []
    domains: list[str] = []
    for kind, value in given.attributes:
        for version in (4, 6):
            octets = _OCTETS[version]
            if kind == _ADDRESS[version] and len(value) >= octets:
                addresses.append(ipaddress.ip_address(value[:octets]))
            elif kind == _DNS[version] and len(value) == octets:
                dns.append(ipaddress.ip_address(value))
            elif kind == _SUBNET[version]:
                subnets += _subnet(version, value)
        if kind == CfgAttribute.INTERNAL_DNS_DOMAIN and value.isascii():
            domains.append(value.decode())
    return Configured(tuple(addresses), tuple(dns), tuple(subnets), tuple(domains))


def _wanted(asked: CpPayload, version: int) -> tuple[bool, Address | None]:
    """Whether an address of that family is asked for, and which one would be liked."""
    octets = _OCTETS[version]
    for kind, value in asked.attributes:
        if kind == _ADDRESS[version]:
            hint = value[:octets] if len(value) >= octets else b""
            return True, ipaddress.ip_address(hint) if any(hint) else None
    return False, None


def _choose(
    chain: bytes,
    pools: tuple[Pool, ...],
    wanted: dict[int, tuple[bool, Address | None]],
    ctx: Context,
) -> tuple[Leased, ...]:
    leased: list[Leased] = []
    for version, (asks, hint) in wanted.items():
        for pool in pools if asks else ():
            if pool.version != version:
                continue
            address = ctx.addresses.choose(pool.name, chain, hint)
            if address is not None:
                leased.append(Leased(pool.name, address.packed))
                break
    return tuple(leased)


def _reply(leased: tuple[Leased, ...], pools: tuple[Pool, ...]) -> CpPayload:
    attributes: list[tuple[int, bytes]] = []
    ours = [pool for pool in pools if any(row.pool == pool.name for row in leased)]
    for row in leased:
        whole = len(row.packed) == _OCTETS[6]
        prefix = b"\x80" if whole else b""  # one address, not a link
        attributes.append((_ADDRESS[6 if whole else 4], row.packed + prefix))
    for pool in ours:
        attributes += [(_DNS[server.version], server.packed) for server in pool.dns]
        attributes += [(_SUBNET[net.version], _packed(net)) for net in pool.subnets]
        attributes += [(CfgAttribute.INTERNAL_DNS_DOMAIN, d.encode()) for d in pool.domains]
    return CpPayload(CfgType.CFG_REPLY, tuple(attributes))


def _packed(network: Network) -> bytes:
    """IPv4: address and mask; IPv6: address and length of the prefix (RFC 7296 3.15.1)."""
    if network.version == 4:
        return network.network_address.packed + network.netmask.packed
    return network.network_address.packed + bytes((network.prefixlen,))


def _subnet(version: int, value: bytes) -> list[Network]:
    octets = _OCTETS[version]
    try:
        if version == 4 and len(value) == 2 * octets:
            mask = ipaddress.IPv4Address(value[octets:])
            return [ipaddress.IPv4Network((value[:octets], str(mask)), strict=False)]
        if version == 6 and len(value) == octets + 1:
            return [ipaddress.IPv6Network((value[:octets], value[octets]), strict=False)]
    except ValueError:
        return []
    return []
