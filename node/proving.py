"""Errands about certificates, carried out by `node.trust` (those of EAP: `node.eap.steps`).

Rules: what the core is told of a refusal is for the log; a peer is told nothing of it. One that
takes too long is a refusal: how OCSP's silence counts is decided before that, by policy.
"""

from node.errands import Errands
from node.trust.certificate import Unfit
from node.trust.verifier import Trust, encode_ids
from proto.ike.proofs import ChainChecked, CheckChain

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
