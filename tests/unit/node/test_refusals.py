"""node.refusals: an SA that has just begun is held against what came while it was written."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from cluster.batch import Op, OpKind
from cluster.layout import Keys
from cluster.store_memory import MemoryStore
from node.proving import REVOKED
from node.refusals import WHY, ClusterRefusals
from node.trust.certificate import CertificateId
from node.trust.verifier import encode_ids
from node.wiring import Node
from proto.ike.core import Settings
from proto.ike.refusals import Used
from proto.ike.ticket import TicketBody
from proto.secret import Secret
from tests.sim.loop import run
from tests.unit.cluster.fakes import LoopClock, SeededRng

ALICE = "rfc822:alice@example.com"
BAD = CertificateId(b"8 octets", 7)


class World:
    """A node with one SA."""

    def __init__(self, *, resumed: bool = False, certificate: bytes = b"") -> None:
        self.clock = LoopClock()
        self.ended: list[str] = []
        self.core = SimpleNamespace(
            chain=bytes(16), spi=bytes(8), identity=ALICE, authenticated_wall_s=0.0,
            resumed=resumed, certificate=certificate,
        )  # fmt: skip
        self.node = node = SimpleNamespace(
            seams=SimpleNamespace(
                store=MemoryStore(self.clock), clock=self.clock, rng=SeededRng(1, "gw1"), link=None
            ),
            keys=Keys("sample"),
            built=False,
            rings=SimpleNamespace(ring=SimpleNamespace(revoked=())),
            trust=SimpleNamespace(trust=SimpleNamespace(revoked=lambda ids: BAD in ids)),
            gateway=SimpleNamespace(
                endpoint=SimpleNamespace(find=lambda _spi: self.core),
                terminate=lambda _spi, why: self.ended.append(why),
            ),
        )
        settings = cast(Settings, SimpleNamespace(ticket_lifetime_s=3600.0))
        self.refusals = ClusterRefusals(cast(Node, node), Secret(bytes(16)), settings)

    async def begins(self) -> list[str]:
        """Why it was ended as it began."""
        self.refusals.came_up(self.core.spi)
        await asyncio.sleep(0)
        return self.ended


@pytest.mark.parametrize("resumed", [True, False])
def test_an_sa_that_has_begun_ends_by_the_rule_that_forbids_its_operation(resumed: bool) -> None:
    """It was authenticated by a clock that is ahead of the rule's: before it, if a ticket says so,
    and after it, if it has just been."""

    async def story(_loop: object) -> None:
        world = World(resumed=resumed)
        await world.refusals.rules.revoke_identity(ALICE, 3600.0)
        core = world.core
        core.authenticated_wall_s = authenticated = world.clock.wall_s() + 2.0
        op = Op(
            OpKind.REDEEM if resumed else OpKind.CREATE, core.chain, int(resumed), 3, core.spi,
            b"", None, 1e12, identity=ALICE, authenticated_wall_s=authenticated,
            issued_wall_s=authenticated if resumed else None,
        )  # fmt: skip
        assert world.refusals.forbids(op) == resumed
        assert await world.begins() == ([WHY] if resumed else [])

    run(story)


def test_an_sa_whose_certificate_was_revoked_while_it_was_written_ends() -> None:
    """News of a list end the SAs that stand then."""

    async def story(_loop: object) -> None:
        good = encode_ids((CertificateId(b"8 octets", 8),))
        assert await World(certificate=good).begins() == []
        assert await World(certificate=encode_ids((BAD,))).begins() == [REVOKED]

    run(story)


@pytest.mark.parametrize("failsafe", [False, True])
def test_a_ticket_whose_use_may_be_forgotten_is_refused_with_the_store_and_without(
    failsafe: bool,
) -> None:
    async def story(_loop: object) -> None:
        world = World()
        world.node.outage = SimpleNamespace(failsafe=failsafe)
        world.node.standby = SimpleNamespace(
            forgotten=lambda issued_wall_s: issued_wall_s < 100.0,
            gate=SimpleNamespace(refuses=lambda *_: False),
        )

        def used(issued_wall_s: float) -> Used:
            shown = SimpleNamespace(
                chain=bytes(16), generation=1, issued_wall_s=issued_wall_s, expires_wall_s=1e12
            )
            return world.refusals.used(cast(TicketBody, shown))

        assert [used(99.0), used(101.0)] == [Used.YES, Used.NO]

    run(story)
