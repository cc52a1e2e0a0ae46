"""IKE_FOLLOWUP_KE: the additional key exchanges after a CREATE_CHILD_SA, both roles (RFC 9370
2.2.4).

Rules: each is for the next method that was agreed on, in order; with the last one the SA is made
that CREATE_CHILD_SA has chosen, of all secrets together. What was lost in between is begun anew.
"""

from proto.ike.agenda import again
from proto.ike.agreement import agree, answer
from proto.ike.core import Context, SaCore, Step, replace
from proto.ike.enums import NotifyType
from proto.ike.errors import Misuse, PeerError
from proto.ike.exchanges import children, informational, rekey_ike, series
from proto.ike.message import Message
from proto.ike.payloads import KePayload


def respond(core: SaCore, message: Message, ctx: Context) -> Step:
    """Answer the next KEi with KEr; the last one makes the SA. Raises PeerError STATE_NOT_FOUND,
    INVALID_SYNTAX; Needed.
    """
    under_way = series.held(core, message, ctx)
    method, ke = under_way.more[0], message.find(KePayload)
    if ke is None or ke.group != method:
        why = f"IKE_FOLLOWUP_KE for method {method} has another KE, or none"
        raise PeerError(NotifyType.INVALID_SYNTAX, why=why)
    public, shared = answer(method, ke.data, ctx)
    under_way, ours = under_way.after(shared), KePayload(method, public)
    if under_way.more:
        core, link = series.hold(core, under_way, ctx)
        return Step(core, (ours, link))
    core = replace(core, series=None)
    if under_way.suite is not None:
        return rekey_ike.take_over(core, under_way, (ours,), ctx)
    return children.take(core, under_way, (ours,), ctx)


def process(core: SaCore, message: Message, ctx: Context) -> Step:
    """Initiator: take KEr; then the next KEi, or the SA. Raises PeerError where the answer is for
    something else; Needed.
    """
    if message.notify(NotifyType.INVALID_SYNTAX) is not None:
        return informational.end(core, False, "the peer found our request malformed")
    asking = core.asking
    if asking is None or asking.series is None or asking.exchange is None:
        raise Misuse("an IKE_FOLLOWUP_KE response that nobody waits for")
    ke = message.find(KePayload)
    if ke is None:
        # STATE_NOT_FOUND: it has lost what it knew. After many of these the IKE SA is deleted
        wants = (again(asking.want, ctx.now.boot_s, asking.nonce[0]),)
        return Step(replace(core, asking=None), wants=() if asking.rival is not None else wants)
    if ke.group != asking.exchange.group:
        raise PeerError(NotifyType.INVALID_SYNTAX, why="KE of another method than ours")
    shared = agree(asking.exchange, ke.data, ctx)
    under_way = asking.series.after(shared)
    if under_way.more:
        return series.ask(core, asking, under_way, message, ctx)
    if under_way.suite is not None:
        return rekey_ike.conclude(core, asking, under_way, message, ctx)
    return children.conclude(core, asking, under_way, ctx)
