"""EAP between the core and the desk: errands in, results out, for both roles.

Rules: what the core is told of a failure is for the log; what the peer is told is the packet
alone. An errand without `asked` goes on with what is under way under its SPI.
"""


from proto.ike.proofs import EapDone, EapStep, EapStepped

from node.eap.desk import EapDesk
from node.eap.method import Asked, Failure, Round, Success, traits
from node.eap.packet import name_of_type


class EapSteps:
    """Implements `node.errands.Do` for `EapStep`."""

    def __init__(self, desk: EapDesk) -> None:
        self._desk = desk

    async def __call__(self, step: EapStep) -> EapStepped:
        """One round."""
        if step.asked is None:
            return _told(await self._desk.go_on(step.spi, step.packet))
        whose = Asked(step.asked.identity, step.asked.remote, step.asked.methods)
        return _told(await self._desk.begin(step.spi, whose, step.packet))


def _told(went: Round) -> EapStepped:
    match went.result:
        case None:
            return EapStepped(went.packet)
        case Failure(why=why):
            return EapStepped(went.packet, why=why)
        case Success() as result:
            done = EapDone(
                identity=result.identity,
                method=name_of_type(result.method).lower().replace(" ", ""),
                msk=result.msk,
                is_safe=traits(result.method).fits_eap_only,
                lifetime_s=result.lifetime_s,
            )
            return EapStepped(went.packet, done)
