"""Transport mode of Child SAs, both roles (RFC 7296 1.3.1; RFC 4301 4.1).

Rules: it protects what the two ends of the IKE SA say to each other, so its selectors are their
addresses, whatever networks are configured. Where a NAT is between them it isn't granted, nor where
the connection hasn't got it: the answer then says nothing of it, and the Child SA is in tunnel
mode. Who wanted it all the same deletes such a Child SA. A rekey keeps the mode of what it
replaces. An IKE SA with such a Child SA doesn't move (RFC 4555 is for tunnels).
"""

from proto.ike import selectors
from proto.ike.connection import Connection
from proto.ike.core import SaCore
from proto.ike.effects import Path
from proto.ike.enums import NotifyType
from proto.ike.message import Message
from proto.ike.payloads import NotifyPayload, TrafficSelector

USE_TRANSPORT_MODE = NotifyPayload(NotifyType.USE_TRANSPORT_MODE)
_ASKED = NotifyType.USE_TRANSPORT_MODE

Selectors = tuple[TrafficSelector, ...]


def said(message: Message) -> bool:
    """Does the message ask for it, or grant it?"""
    return message.notify(_ASKED) is not None


def granted(core: SaCore, message: Message, connection: Connection) -> bool:
    """Responder: is the Child SA that `message` asks for to be in transport mode?"""
    return connection.transport and not core.encapsulated and said(message)


def hosts(path: Path) -> tuple[Selectors, Selectors]:
    """Local and remote selectors of a Child SA between the two ends of `path`."""
    local, remote = path.local[0], path.remote[0]
    return (selectors.parse_selector(local),), (selectors.parse_selector(remote),)


def moves(core: SaCore) -> bool:
    """May the IKE SA move to other addresses?"""
    return not any(child.transport for child in core.children)
