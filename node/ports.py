"""Which UDP ports there are: those for IKE, and beside each the one that NATs let pass.

Rules: port 4500 stands beside port 500; beside any other number there is what the configuration
names, or nothing, and then no NAT traversal (RFC 7296 2.23).
"""

from node.identity import parse_address
from node.sections import ClientSection, IkeConfig
from node.udp import Listen
from proto.ike.effects import Address

IKE_PORT = 500
NAT_PORT = 4500


def listen(ike: IkeConfig) -> Listen:
    """Where a gateway is to be bound."""
    own = tuple(parse_address(text) for text in ike.listen)
    if ike.listen_nat:
        return Listen(own, tuple(parse_address(text) for text in ike.listen_nat))
    return Listen(own, tuple(found for found in map(beside, own) if found is not None))


def gateways(section: ClientSection) -> tuple[tuple[Address, ...], tuple[Address | None, ...]]:
    """A client's gateways, and the same where NATs let pass."""
    own = tuple(parse_address(text) for text in section.gateways)
    if section.gateways_nat:
        return own, tuple(parse_address(text) for text in section.gateways_nat)
    return own, tuple(beside(address) for address in own)


def beside(address: Address) -> Address | None:
    """The well-known port that NATs let pass, beside the well-known one of IKE."""
    return (address[0], NAT_PORT) if address[1] == IKE_PORT else None
