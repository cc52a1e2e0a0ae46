"""The table of exchanges: which message is taken in which state, and by whom (RFC 7296 1.2 to 1.4,
RFC 5723 4).

Rules: what isn't in the table is ignored. `protected` is looked at before a handler sees anything:
a message that isn't integrity-checked can't reach a handler that has state to lose. The two first
requests have no SA yet and are answered by `proto.ike.responder`.
"""

from collections.abc import Callable

import msgspec

from proto.ike.core import Context, SaCore, State, Step
from proto.ike.enums import ExchangeType
from proto.ike.exchanges import (
    create_child_sa,
    ike_auth,
    ike_auth_client,
    ike_auth_resumed,
    ike_followup_ke,
    ike_intermediate,
    ike_sa_init,
    ike_session_resume,
    informational,
)
from proto.ike.message import Message

Handler = Callable[[SaCore, Message, Context], Step]


class Row(msgspec.Struct, frozen=True):
    """One line of the table; `story` is what a log says of it."""

    story: str
    protected: bool
    handler: Handler


REQUESTS: dict[tuple[State, int], Row] = {
    (State.INIT_ANSWERED, ExchangeType.IKE_INTERMEDIATE): Row(
        "a peer begins an additional key exchange", True, ike_intermediate.respond
    ),
    (State.INIT_ANSWERED, ExchangeType.IKE_AUTH): Row(
        "a peer proves who it is, in one round or several", True, ike_auth.respond
    ),
    (State.RESUME_ANSWERED, ExchangeType.IKE_AUTH): Row(
        "a peer proves that it holds the ticket's keys", True, ike_auth_resumed.respond
    ),
    (State.ESTABLISHED, ExchangeType.INFORMATIONAL): Row(
        "a peer asks whether we live, deletes, or wants a ticket", True, informational.respond
    ),
    (State.ESTABLISHED, ExchangeType.CREATE_CHILD_SA): Row(
        "a peer wants another Child SA or a rekey", True, create_child_sa.respond
    ),
    (State.ESTABLISHED, ExchangeType.IKE_FOLLOWUP_KE): Row(
        "a peer goes on with the additional key exchanges of a rekey", True, ike_followup_ke.respond
    ),
    (State.REKEYED, ExchangeType.INFORMATIONAL): Row(
        "a peer deletes the SA that was rekeyed", True, informational.respond
    ),
    (State.REKEYED, ExchangeType.CREATE_CHILD_SA): Row(
        "a peer hasn't noticed yet that the SA was rekeyed", True, create_child_sa.respond
    ),
    (State.REKEYED, ExchangeType.IKE_FOLLOWUP_KE): Row(
        "a peer hasn't noticed yet that its rekey has lost", True, ike_followup_ke.respond
    ),
}

RESPONSES: dict[tuple[State, int], Row] = {
    (State.INIT_SENT, ExchangeType.IKE_SA_INIT): Row(
        "the gateway answers the full handshake", False, ike_sa_init.process
    ),
    (State.RESUME_SENT, ExchangeType.IKE_SESSION_RESUME): Row(
        "the gateway takes or refuses the ticket", False, ike_session_resume.process
    ),
    (State.INTERMEDIATE_SENT, ExchangeType.IKE_INTERMEDIATE): Row(
        "the gateway answers an additional key exchange", True, ike_intermediate.process
    ),
    (State.AUTH_SENT, ExchangeType.IKE_AUTH): Row(
        "the gateway proves itself, or wants to know more", True, ike_auth_client.process
    ),
    (State.RESUME_AUTH_SENT, ExchangeType.IKE_AUTH): Row(
        "the gateway proves that it opened the ticket", True, ike_auth_client.process
    ),
    (State.ESTABLISHED, ExchangeType.INFORMATIONAL): Row(
        "the peer answers a request of ours", True, informational.process
    ),
    (State.ESTABLISHED, ExchangeType.CREATE_CHILD_SA): Row(
        "the peer answers our wish for a Child SA or a rekey", True, create_child_sa.process
    ),
    (State.ESTABLISHED, ExchangeType.IKE_FOLLOWUP_KE): Row(
        "the peer answers an additional key exchange of a rekey", True, ike_followup_ke.process
    ),
    (State.REKEYED, ExchangeType.INFORMATIONAL): Row(
        "the peer answers the Delete of the SA that was rekeyed", True, informational.process
    ),
    (State.REKEYED, ExchangeType.CREATE_CHILD_SA): Row(
        "the peer answers our rekey, which has crossed its own", True, create_child_sa.process
    ),
    (State.REKEYED, ExchangeType.IKE_FOLLOWUP_KE): Row(
        "the peer answers one of a rekey that has crossed its own", True, ike_followup_ke.process
    ),
}
