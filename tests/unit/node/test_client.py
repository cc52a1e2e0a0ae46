"""A client talks to its gateways, and is none itself."""

from node.client import Client
from node.origins import FixedOrigins, Origins
from node.seams import OsClock
from node.session import MemoryTicket, SessionSettings
from node.udp import Receiver, Sockets
from proto.ike.effects import Datagram, Path
from proto.ike.message import encode_clear, peek
from tests.pair.craft import first_payloads
from tests.pair.pair import Pair
from tests.pair.parts import CLIENT, GATEWAY, PEER, SeededRng

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


async def test_a_stranger_who_begins_an_ike_sa_with_a_client_gets_no_answer() -> None:
    socket = Socket()
    client = Client(
        PEER,
        SessionSettings((GATEWAY,)),
        tickets=MemoryTicket(),
        report=lambda kind, **fields: None,
        clock=OsClock(),
        rng=SeededRng("client"),
        open_sockets=socket.open,
    )
    client.session.start()
    payloads = first_payloads(Pair(), b"n" * 32)
    socket.receive(encode_clear(b"stranger", bytes(8), 34, 8, 0, payloads), Path(CLIENT, STRANGER))
    assert [datagram.path.remote for datagram in socket.sent] == [GATEWAY]
    assert peek(socket.sent[0].data).spi_i != b"stranger"
    client.stop()
