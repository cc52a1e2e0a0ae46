"""What the parts are set to, from the configuration file.

Rules: pure functions; a value that a file may hold has been checked by `node.config`.
"""

from cluster.member import MemberSettings
from node.config import keep_alive_timeout_s
from node.sections import GatewayConfig, IkeConfig
from proto.ike.auth import ResumeForm
from proto.ike.core import Settings
from proto.ike.enums import PayloadType
from proto.ike.identity import parse_identity
from proto.ike.payloads import IdPayload
from proto.ike.selectors import parse_selector
from proto.ike.suite import parse_child, parse_suite
from proto.ike.ticket import TicketForm


def endpoint_settings(cluster: str, ike: IkeConfig, epoch: int) -> Settings:
    """The core's settings from the configuration file."""
    forms = {
        "both": (ResumeForm.RFC, ResumeForm.FIRST_MESSAGE),
        "rfc": (ResumeForm.RFC,),
        "first-message": (ResumeForm.FIRST_MESSAGE,),
    }
    return Settings(
        local_id=IdPayload(PayloadType.IDr, *parse_identity(ike.identity)),
        realm=cluster.encode(),
        suites=tuple(parse_suite(text) for text in ike.proposals),
        child_suites=tuple(parse_child(text) for text in ike.child_proposals),
        local_ts=tuple(parse_selector(text) for text in ike.local_ts),
        remote_ts=tuple(parse_selector(text) for text in ike.remote_ts),
        ike_sa_lifetime_s=ike.ike_sa_lifetime_s,
        ike_rekey_s=ike.ike_rekey_s,
        child_rekey_s=ike.child_rekey_s,
        child_pfs=ike.child_pfs,
        ticket_lifetime_s=ike.ticket_lifetime_s,
        half_open_max=ike.half_open_max,
        half_open_timeout_s=ike.half_open_timeout_s,
        cookie_threshold=ike.cookie_threshold,
        resume_forms=forms[ike.resume_auth],
        revoke_on_delete=ike.revoke_on_delete,
        ticket_form=TicketForm(ike.tickets),
        ticket_octets_max=ike.ticket_octets_max,
        epoch=epoch,
    )


def member_settings(config: GatewayConfig, data_dir_id: str, release: str) -> MemberSettings:
    """What the cluster is told of this member."""
    member = config.member
    return MemberSettings(
        name=member.name,
        data_dir_id=data_dir_id,
        host=member.host,
        rpc_address=member.rpc_listen,
        ike_addresses=config.ike.listen,
        release=release,
        lease_ttl_s=member.lease_ttl_s,
        keep_alive_s=member.keep_alive_s,
        call_timeout_s=keep_alive_timeout_s(config.store),
    )
