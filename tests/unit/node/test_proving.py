"""node.proving: chains are checked by errand, and whoever's certificate is revoked is ended."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from node.errands import Errands
from node.gateway import Gateway
from node.proving import REVOKED, check_certificates, end_revoked
from node.supervisor import Supervisor
from node.trust.certificate import CertificateId
from node.trust.verifier import encode_ids
from proto.ike.errands import Result
from proto.ike.identity import parse_identity
from proto.ike.payloads import CertPayload
from proto.ike.proofs import ChainChecked, CheckChain
from tests.pki import Authority
from tests.sim.seams import AtOnce
from tests.unit.node.trust.world import CRL_URL, TrustWorld, in_world

ROOT = Authority.root()
LEAF = ROOT.issue(names=["fqdn:peer.example.com"])
IDS = encode_ids((LEAF.read.id_below(ROOT.own.read),))


@pytest.mark.parametrize("name", ["peer.example.com", "other.example.com"])
def test_what_comes_of_a_chain(name: str) -> None:
    async def play(world: TrustWorld) -> None:
        errands = Errands(Supervisor().contain, AtOnce())
        check_certificates(errands, world.trust)
        came: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        errand = CheckChain(
            "", parse_identity(f"fqdn:{name}"), (CertPayload(4, LEAF.der),), "192.0.2.1", False
        )
        errands.begin(errand, came.set_result)
        checked = await came
        assert isinstance(checked, ChainChecked)
        if name == "other.example.com":
            assert checked.key is None
            assert "doesn't speak for fqdn:other" in checked.why
        else:
            assert checked.key == LEAF.key.public_key()
            assert (checked.why, checked.subject, checked.certificate) == ("", "CN=peer", IDS)
            assert checked.expires_wall_s == LEAF.read.not_after_wall_s

    in_world(play, anchors=(ROOT,))


def test_whoever_s_certificate_is_revoked_is_ended() -> None:
    good = encode_ids((CertificateId(b"8 octets", 7),))
    cores = [
        SimpleNamespace(spi=spi, certificate=certificate)
        for spi, certificate in ((b"psk", b""), (b"good", good), (b"bad", IDS))
    ]
    ended: list[tuple[bytes, str]] = []
    gateway = SimpleNamespace(
        endpoint=SimpleNamespace(established=lambda: ((core, None) for core in cores)),
        terminate=lambda spi, why: ended.append((spi, why)),
    )

    async def play(world: TrustWorld) -> None:
        told = cast(Gateway, gateway)
        world.lists.on_news.append(lambda: end_revoked(told, world.trust))
        await asyncio.sleep(1)
        end_revoked(told, world.trust)
        assert ended == []
        world.web.put(CRL_URL, ROOT.crl([LEAF]))
        await asyncio.sleep(60)
        assert ended == [(b"bad", REVOKED)]

    in_world(play, anchors=(ROOT,), urls=(CRL_URL,))
