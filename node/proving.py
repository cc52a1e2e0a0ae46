"""Errands about certificates, carried out by `node.trust` (those of EAP: `node.eap.steps`), and the
end of who was let in by one that is revoked since.

Rules: what the core is told of a refusal is for the log; a peer is told nothing of it. One that
takes too long is a refusal: how OCSP's silence counts is decided before that, by policy.
"""

from typing import TYPE_CHECKING

from node.errands import Errands
from node.trust.certificate import Unfit
from node.trust.verifier import Trust, decode_ids, encode_ids
from proto.ike.core import SaCore
from proto.ike.proofs import ChainChecked, CheckChain

if TYPE_CHECKING:
    from node.gateway import Gateway
    from node.wiring import Node

REVOKED = "its certificate is revoked"
CHAIN_LIMIT_S = 10.0
"""A CRL and a few responders may have to be asked."""
CHAINS_MAX = 256


def check_certificates(errands: Errands, trust: Trust) -> None:
    """From now on chains are checked by `trust`."""

    async def check(errand: CheckChain) -> ChainChecked:
        try:
            checked = await trust.check(
                errand.certificates, errand.identity, errand.connection, errand.address
            )
        except Unfit as error:
            return ChainChecked(None, str(error))
        return ChainChecked(
            checked.key,
            "",
            checked.subject,
            encode_ids(checked.ids),
            checked.not_after_wall_s,
        )

    errands.on(CheckChain, check, limit_s=CHAIN_LIMIT_S, at_most=CHAINS_MAX)


def look_after_certificates(node: "Node") -> None:
    """From now on chains are checked, and whoever's certificate turns out revoked is ended."""
    trust = node.trust.trust
    check_certificates(node.seams.errands, trust)
    node.trust.lists.on_news.append(lambda: end_revoked(node.gateway, trust))


def end_revoked(gateway: "Gateway", trust: Trust) -> None:
    """More is known to be revoked: SAs of revoked certificates end, their peers are told,
    and no ticket of theirs works at any member.
    """
    established = gateway.endpoint.established()
    for spi in [core.spi for core, _path in established if is_revoked(core, trust)]:
        gateway.terminate(spi, REVOKED)


def is_revoked(core: SaCore, trust: Trust) -> bool:
    """Whether the certificate by which an SA's peer proved itself is known to be revoked."""
    return bool(core.certificate) and trust.revoked(decode_ids(core.certificate))
