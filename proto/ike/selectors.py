"""Traffic selectors: from text, intersected, and back to text (RFC 7296 2.9, 3.13.1).

Rules: a selector is a closed range of addresses and one of ports, for one protocol or all (0).
Narrowing keeps the order of the peer's selectors, so that a first, specific one stays first.
"""

import ipaddress
from collections.abc import Sequence

from proto.ike.enums import TsType
from proto.ike.payloads import TrafficSelector

PORT_MAX = 0xFFFF
_IP_RANGES = (TsType.TS_IPV4_ADDR_RANGE, TsType.TS_IPV6_ADDR_RANGE)
SELECTORS_MAX = 64
"""Selectors of one side of a Child SA: a TS payload holds 255, a record is to stay small."""


def parse_selector(text: str) -> TrafficSelector:
    """A selector for a network such as `10.0.0.0/8` or `fd00::/8`: all protocols, all ports.

    Raises ValueError with one line where it is no network.
    """
    network = ipaddress.ip_network(text)
    kind = TsType.TS_IPV4_ADDR_RANGE if network.version == 4 else TsType.TS_IPV6_ADDR_RANGE
    return TrafficSelector(
        kind, 0, 0, PORT_MAX, network.network_address.packed, network.broadcast_address.packed
    )


def intersect(a: TrafficSelector, b: TrafficSelector) -> TrafficSelector | None:
    """What both selectors cover, or None."""
    if a == b:
        return a
    if a.ts_type != b.ts_type or (
        a.ip_protocol != b.ip_protocol and a.ip_protocol and b.ip_protocol
    ):
        return None
    first, last = max(a.start_address, b.start_address), min(a.end_address, b.end_address)
    low, high = max(a.start_port, b.start_port), min(a.end_port, b.end_port)
    if first > last or low > high:
        return None
    return TrafficSelector(a.ts_type, a.ip_protocol or b.ip_protocol, low, high, first, last)


def narrow(
    offered: Sequence[TrafficSelector], policy: Sequence[TrafficSelector]
) -> tuple[TrafficSelector, ...]:
    """The part of `offered` that `policy` allows, the first SELECTORS_MAX of it; empty:
    TS_UNACCEPTABLE.
    """
    kept: dict[TrafficSelector, None] = {}
    for theirs in offered:
        for ours in policy:
            both = intersect(theirs, ours)
            if both is not None:
                kept[both] = None
    return tuple(kept)[:SELECTORS_MAX]


def text(selector: TrafficSelector) -> str:
    """For people: `10.0.0.0-10.255.255.255`, with protocol and ports where they are limited.

    A peer may offer a type that has no addresses (such as TS_FC_ADDR_RANGE): its number.
    """
    if selector.ts_type not in _IP_RANGES:
        return f"type{selector.ts_type}"
    first = ipaddress.ip_address(selector.start_address)
    last = ipaddress.ip_address(selector.end_address)
    out = str(first) if first == last else f"{first}-{last}"
    if selector.ip_protocol:
        out += f" proto {selector.ip_protocol}"
    if (selector.start_port, selector.end_port) != (0, PORT_MAX):
        out += f" ports {selector.start_port}-{selector.end_port}"
    return out
