"""RFC 5723 row by row: what a client process does with its stored ticket, at a gateway that was
written from the RFC's text.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as File

from msgspec.structs import replace

from node.client import Client
from node.origins import FixedOrigins
from node.seams import OsClock
from node.session import SessionSettings
from node.tickets import TicketFile
from node.udp import Receiver
from proto.ike.effects import Datagram, Path
from proto.ike.ticket import ClientTicket
from tests.pair.parts import CLIENT, GATEWAY, PEER, SeededRng
from tests.rfc import independent
from tests.rfc.independent import (
    IKE_SESSION_RESUME,
    INFORMATIONAL,
    SUITES,
    TICKET_LT_OPAQUE,
    TICKET_NACK,
    Old,
    Responder,
    notify,
)
from tests.rfc.talk import IDI, IDR, SPI_R, foreign_ticket, fresh

IKE_SA_INIT = 34
INVALID_SYNTAX = 7
AUTHENTICATION_FAILED = 24
DELETE = (42, b"\x01\0\0\0")
WAIT_S = 60.0
"""Longer than anything here takes: a client that says nothing fails the test."""


class Wire:
    """The client's socket: what it sends waits for the test."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()

    def send(self, datagram: Datagram) -> None:
        """Keep it."""
        self.sent.put_nowait(datagram.data)

    def close(self) -> None:
        """Nothing was opened."""


class Desk:
    """A client process with a ticket file, and the independent gateway at the other end."""

    def __init__(
        self, folder: File, ticket: ClientTicket | None, liveness_interval_s: float
    ) -> None:
        self.path = folder / "ticket"
        self.file = TicketFile(str(self.path))
        if ticket is not None:
            self.file.save(ticket)
            suite = SUITES[str(PEER.suites[0])]
            self.gateway = Responder(Old(ticket.ticket, ticket.sk_d.octets, suite, IDI, IDR))
        self.wire = Wire()
        self.reports: list[str] = []
        self.client = Client(
            PEER,
            SessionSettings((GATEWAY,), liveness_interval_s=liveness_interval_s),
            tickets=self.file,
            report=lambda kind, **fields: self.reports.append(kind),
            clock=OsClock(),
            rng=SeededRng("desk"),
            open_sockets=self._open,
        )

    def _open(self, receiver: Receiver) -> tuple[Wire, FixedOrigins]:
        self._receive = receiver
        return self.wire, FixedOrigins(CLIENT)

    async def said(self) -> bytes:
        """The client's next datagram."""
        return await asyncio.wait_for(self.wire.sent.get(), WAIT_S)

    def tell(self, data: bytes) -> None:
        """`data` reaches the client."""
        self._receive(data, Path(CLIENT, GATEWAY))

    async def resume(self, *more: independent.Payload) -> None:
        """The whole exchange, with `more` at the end of the last answer."""
        self.gateway.see(await self.said())
        self.tell(self.gateway.answer(SPI_R, fresh("nr")))
        self.gateway.check(await self.said())
        self.tell(self.gateway.say([*self.gateway.auth_payloads(), *more]))
        assert "established" in self.reports

    def ask(self, *payloads: independent.Payload) -> None:
        """The gateway's first request."""
        head, keys = (self.gateway.ends, INFORMATIONAL, 0, 0), self.gateway.keys
        self.tell(independent.seal(self.gateway.suite, keys.er, keys.ar, head, [*payloads]))

    def stored(self) -> bytes | None:
        """The ticket on the disk."""
        ticket = self.file.load()
        return None if ticket is None else ticket.ticket


@asynccontextmanager
async def desk(
    folder: File, ticket: ClientTicket | None, liveness_interval_s: float = 60.0
) -> AsyncIterator[Desk]:
    """A client that has begun, and is stopped at the end."""
    made = Desk(folder, ticket, liveness_interval_s)
    made.client.session.start()
    yield made
    made.client.stop()


def following() -> independent.Payload:
    """A new ticket that lives an hour."""
    return notify(TICKET_LT_OPAQUE, (3600).to_bytes(4, "big") + b"the next")


async def test_r10_a_ticket_on_the_disk_is_all_that_a_new_process_needs(tmp_path: File) -> None:
    """The first message of a client that was just started is exchange 38 with the stored ticket."""
    async with desk(tmp_path, foreign_ticket()) as at:
        await at.resume(following())
        assert at.stored() == b"the next"


async def test_r13_a_ticket_that_set_up_an_sa_is_not_kept(tmp_path: File) -> None:
    """One use: without a new ticket in the answer there is none left."""
    async with desk(tmp_path, foreign_ticket()) as at:
        await at.resume()
        assert at.stored() is None
        assert not at.path.exists()


async def test_r12_an_expired_ticket_is_not_shown(tmp_path: File) -> None:
    """A ticket past its lifetime leads to IKE_SA_INIT, and is gone."""
    over = replace(foreign_ticket(), expires_wall_s=OsClock().wall_s() - 1)
    async with desk(tmp_path, over) as at:
        assert independent.parse(await at.said()).exchange == IKE_SA_INIT
        assert at.stored() is None


async def test_r18_without_a_ticket_the_exchange_is_not_used(tmp_path: File) -> None:
    """Nothing stored, or something that is no ticket: IKE_SA_INIT."""
    async with desk(tmp_path, None) as at:
        assert independent.parse(await at.said()).exchange == IKE_SA_INIT
    (tmp_path / "ticket").write_bytes(b"{}")
    async with desk(tmp_path, None) as at:
        assert independent.parse(await at.said()).exchange == IKE_SA_INIT


async def test_r21_after_a_refusal_a_full_exchange_follows_by_itself(tmp_path: File) -> None:
    """TICKET_NACK: the ticket is dropped and IKE_SA_INIT goes out to the same gateway."""
    async with desk(tmp_path, foreign_ticket()) as at:
        at.gateway.see(await at.said())
        at.tell(at.gateway.refuse(notify(TICKET_NACK)))
        assert independent.parse(await at.said()).exchange == IKE_SA_INIT
        assert at.stored() is None


async def test_r15_r79_a_ticket_shown_without_an_answer_is_kept(tmp_path: File) -> None:
    """No SA, no use: the request is repeated octet for octet, and the ticket stays."""
    async with desk(tmp_path, foreign_ticket()) as at:
        first = await at.said()
        assert independent.parse(first).exchange == IKE_SESSION_RESUME
        assert await at.said() == first
        assert at.stored() == at.gateway.old.ticket


async def test_r54_a_delete_from_the_gateway_takes_the_ticket_with_it(tmp_path: File) -> None:
    """The IKE SA is gone, and so is what was stored with it."""
    async with desk(tmp_path, foreign_ticket()) as at:
        await at.resume(following())
        at.ask(DELETE)
        assert at.gateway.hear(await at.said()).payloads == []
        assert not at.path.exists()


async def test_r54_an_sa_that_an_error_ends_is_followed_by_a_full_handshake(
    tmp_path: File,
) -> None:
    """Our AUTH isn't believed, or a request of the gateway's is malformed: no SA, no ticket."""
    for ending in (notify(AUTHENTICATION_FAILED), (DELETE[0], b"\1")):
        async with desk(tmp_path, foreign_ticket()) as at:
            await at.resume(following())
            at.ask(ending)
            at.gateway.hear(await at.said())
            assert independent.parse(await at.said()).exchange == IKE_SA_INIT
            assert at.reports[-2:] == ["ended", "connecting"]
            assert at.stored() is None


async def test_r54_a_request_that_the_gateway_finds_malformed_ends_the_sa_too(
    tmp_path: File,
) -> None:
    """INVALID_SYNTAX as the answer to a sign of life (RFC 7296 2.21.3)."""
    async with desk(tmp_path, foreign_ticket(), liveness_interval_s=0.01) as at:
        await at.resume(following())
        asked = at.gateway.hear(await at.said())
        refusal = [notify(INVALID_SYNTAX)]
        at.tell(at.gateway.say(refusal, INFORMATIONAL, asked.message_id))
        assert independent.parse(await at.said()).exchange == IKE_SA_INIT
        assert at.reports[-2:] == ["ended", "connecting"]
        assert at.stored() is None


async def test_r54_r55_a_log_out_deletes_sa_and_ticket(tmp_path: File) -> None:
    """The user's own end of the session: a Delete leaves, and no ticket stays behind."""
    async with desk(tmp_path, foreign_ticket()) as at:
        await at.resume(following())
        assert at.client.session.close()
        asked = at.gateway.hear(await at.said())
        assert (asked.exchange, asked.payloads) == (INFORMATIONAL, [DELETE])
        assert not at.path.exists()


async def test_r68_unproven_messages_start_no_resumption(tmp_path: File) -> None:
    """INVALID_IKE_SPI and INVALID_SPI out of the blue: nothing is sent and the ticket is kept."""
    async with desk(tmp_path, foreign_ticket()) as at:
        await at.resume(following())
        for kind in (4, 11):
            for exchange in (INFORMATIONAL, IKE_SESSION_RESUME):
                forged = independent.clear(at.gateway.ends, exchange, 0x20, [notify(kind)])
                at.tell(forged)
        assert at.wire.sent.empty()
        assert at.client.session.established
        assert at.stored() == b"the next"


async def test_r75_the_file_is_its_owners_alone_whatever_was_there_before(tmp_path: File) -> None:
    """Mode 0600 from the first octet on, also where a file for all to read stood."""
    (tmp_path / "ticket").write_bytes(b"readable by everybody")
    (tmp_path / "ticket").chmod(0o644)
    async with desk(tmp_path, foreign_ticket()) as at:
        await at.resume(following())
        assert stat.S_IMODE(at.path.stat().st_mode) == 0o600
        assert os.listdir(tmp_path) == ["ticket"]
