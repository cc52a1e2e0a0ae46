"""A client talks to its gateways, and is none itself."""

import pathlib

import pytest

from node.client import Client
from node.origins import FixedOrigins, Origins
from node.seams import OsClock
from node.session import MemoryTicket, SessionSettings, Tickets
from node.tickets import TicketFile
from node.udp import Receiver, Sockets
from proto.ike.effects import Datagram, Path
from proto.ike.message import encode_clear, peek
from proto.ike.ticket import ClientTicket
from proto.secret import Secret
from tests.pair.craft import first_payloads
from tests.pair.pair import Pair
from tests.pair.parts import CLIENT, GATEWAY, PEER, SeededRng

SUITE = (20, 256, 0, 5, 31)
STRANGER = ("198.51.100.9", 500)


class Socket:
    """Keeps what was sent, and takes what the test gives it."""

    def __init__(self) -> None:
        self.sent: list[Datagram] = []

    def open(self, receiver: Receiver) -> tuple[Sockets, Origins]:
        """The client's socket."""
        self.receive = receiver
        return self, FixedOrigins(CLIENT)

    def send(self, datagram: Datagram) -> None:
        """Nothing arrives anywhere."""
        self.sent.append(datagram)

    def close(self) -> None:
        """Nothing to do."""


def client_of(socket: Socket, tickets: Tickets) -> Client:
    """A client of one gateway."""
    return Client(
        PEER,
        SessionSettings((GATEWAY,)),
        tickets=tickets,
        report=lambda kind, **fields: None,
        clock=OsClock(),
        rng=SeededRng("client"),
        open_sockets=socket.open,
    )


async def test_a_stranger_who_begins_an_ike_sa_with_a_client_gets_no_answer() -> None:
    socket = Socket()
    client = client_of(socket, MemoryTicket())
    client.session.start()
    payloads = first_payloads(Pair(), b"n" * 32)
    socket.receive(encode_clear(b"stranger", bytes(8), 34, 8, 0, payloads), Path(CLIENT, STRANGER))
    assert [datagram.path.remote for datagram in socket.sent] == [GATEWAY]
    assert peek(socket.sent[0].data).spi_i != b"stranger"
    client.stop()


@pytest.mark.parametrize(
    ("suite", "expires_s"),
    [((999, 256, 0, 5, 31), 3600.0), ((20, 256, 0, 77, 31), 3600.0), (SUITE, -1.0)],
    ids=["unknown cipher", "unknown prf", "expired"],
)
async def test_a_stored_ticket_that_is_no_use_leads_to_a_full_handshake(
    suite: tuple[int, int, int, int, int], expires_s: float, tmp_path: pathlib.Path
) -> None:
    # a newer release, or another configuration, has left it there
    socket, stored = Socket(), TicketFile(str(tmp_path / "ticket"))
    until_s = OsClock().wall_s() + expires_s
    stored.save(ClientTicket(b"ticket", until_s, suite, Secret(b"d" * 32), 3, b"a", 2, b"g", "psk"))
    client = client_of(socket, stored)
    client.session.start()
    assert [peek(datagram.data).exchange for datagram in socket.sent] == [34]
    assert stored.load() is None
    client.stop()


async def test_a_stored_ticket_whose_algorithms_are_still_ours_is_presented() -> None:
    socket, stored = Socket(), MemoryTicket()
    until_s = OsClock().wall_s() + 3600.0
    stored.save(ClientTicket(b"ticket", until_s, SUITE, Secret(b"d" * 32), 3, b"a", 2, b"g", "psk"))
    client = client_of(socket, stored)
    client.session.start()
    assert [peek(datagram.data).exchange for datagram in socket.sent] == [38]
    client.stop()
