"""CREATE_CHILD_SA, both roles: which of its three uses a message is, and what refuses it (RFC 7296
1.3, 2.25).

Rules: an offer for IKE rekeys the IKE SA, one with REKEY_SA a Child SA, any other makes a new Child
SA. A request that crosses something under way is answered by the table of RFC 7296 2.25; nothing
here ends the IKE SA but what is malformed.
"""

from proto.ike.core import Context, SaCore, State, Step, Want, Work, replace
from proto.ike.enums import ExchangeType, NotifyType, ProtocolId
from proto.ike.errors import Misuse, PeerError
from proto.ike.exchanges import children, informational, mobike, rekey_ike
from proto.ike.message import Message
from proto.ike.negotiation import ESP_SPI_LEN
from proto.ike.payloads import DeletePayload, NoncePayload, Payload, SaPayload


def respond(core: SaCore, message: Message, ctx: Context) -> Step:
    """Answer a request of the peer's.

    Raises PeerError: TEMPORARY_FAILURE, NO_ADDITIONAL_SAS, NO_PROPOSAL_CHOSEN, INVALID_KE_PAYLOAD,
    TS_UNACCEPTABLE, INVALID_SYNTAX; Needed.
    """
    if core.state is State.REKEYED:
        raise PeerError(NotifyType.TEMPORARY_FAILURE, why="the IKE SA was rekeyed")
    offer, nonce = message.find(SaPayload), message.find(NoncePayload)
    if offer is None or nonce is None:
        raise PeerError(NotifyType.INVALID_SYNTAX, why="CREATE_CHILD_SA lacks SA or Ni")
    if any(proposal.protocol == ProtocolId.IKE for proposal in offer.proposals):
        return rekey_ike.respond(core, offer, nonce.data, message, ctx)
    return children.respond(core, offer, nonce.data, message, ctx)


def initiate(
    core: SaCore, want: Want, ctx: Context
) -> tuple[SaCore, ExchangeType, tuple[Payload, ...]] | None:
    """The request that `want` leads to, and the state in which its answer is waited for; None: what
    it is about is gone. Raises Needed.
    """
    match want.work:
        case Work.REKEY_IKE:
            asking, payloads = rekey_ike.initiate(core, want, ctx)
        case Work.NEW_CHILD | Work.REKEY_CHILD:
            asked = children.initiate(core, want, ctx)
            if asked is None:
                return None
            asking, payloads = asked
        case Work.DELETE_CHILD:
            delete = DeletePayload(ProtocolId.ESP, ESP_SPI_LEN, (want.child,))
            return informational.asking_to(core, want), ExchangeType.INFORMATIONAL, (delete,)
        case Work.UPDATE_ADDRESSES | Work.CHECK_PATH:
            core, payloads = mobike.ask(core, want, ctx)
            return core, ExchangeType.INFORMATIONAL, payloads
        case Work.ASK_TICKET:
            asked_for = (informational.TICKET_REQUEST,)
            return informational.asking_to(core, want), ExchangeType.INFORMATIONAL, asked_for
    return replace(core, asking=asking), ExchangeType.CREATE_CHILD_SA, payloads


def process(core: SaCore, message: Message, ctx: Context) -> Step:
    """Initiator: take the answer to what `core.asking` says. Raises PeerError, Needed."""
    if message.notify(NotifyType.INVALID_SYNTAX) is not None:
        return informational.end(core, False, "the peer found our request malformed")
    asking = core.asking
    if asking is None:
        raise Misuse("a CREATE_CHILD_SA response that nobody waits for")
    if asking.want.work is Work.REKEY_IKE:
        return rekey_ike.process(core, asking, message, ctx)
    return children.process(core, asking, message, ctx)
