"""EAP between the core and the desk: errands in, results out, for both roles.

Rules: what the core is told of a failure is for the log; what the peer is told is the packet
alone. An errand without `asked` goes on with what is under way under its SPI.
"""

from collections.abc import Callable

from node.eap.desk import EapDesk
from node.eap.method import Asked, Failure, Round, Success, traits
from node.eap.packet import name_of_type
from node.errands import Errands
from proto.ike.proofs import EapDone, EapStep, EapStepped


class EapSteps:
    """Carries out `EapStep`."""

    def __init__(self, desk: EapDesk, close: Callable[[], None] = lambda: None) -> None:
        """`close`: gives back what the desk's conversations work with."""
        self._desk = desk
        self.close = close

    def listen(self, errands: Errands, limit_s: float, at_most: int) -> None:
        """Be who is asked: no round takes longer, and so many are under way at a time."""
        errands.on(EapStep, self.step, limit_s=limit_s, at_most=at_most)

    async def step(self, step: EapStep) -> EapStepped:
        """One round."""
        asked = step.asked
        if asked is None:
            return _told(await self._desk.go_on(step.spi, step.packet))
        whose = Asked(asked.identity, asked.remote, asked.methods, asked.connection)
        return _told(await self._desk.begin(step.spi, whose, step.packet))


def _told(went: Round) -> EapStepped:
    match went.result:
        case None:
            return EapStepped(went.packet)
        case Failure(reason=reason, why=why, identity=identity):
            who = f" ({identity})" if identity and identity not in why else ""
            return EapStepped(went.packet, why=f"{reason.value}: {why}{who}")
        case Success() as result:
            done = EapDone(
                identity=result.identity,
                method=name_of_type(result.method).lower().replace(" ", ""),
                msk=result.msk,
                is_safe=traits(result.method).fits_eap_only,
                lifetime_s=result.lifetime_s,
                certificate=result.certificate,
                expires_wall_s=result.expires_wall_s,
            )
            return EapStepped(went.packet, done)
