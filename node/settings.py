"""What the parts are set to, from the configuration file.

Rules: pure functions; a value that a file may hold has been checked by `node.config`.
"""

from collections.abc import Sequence

import msgspec

from cluster.member import MemberSettings
from node.config import keep_alive_timeout_s
from node.identity import format_address, normal_pattern
from node.pools import core_pools
from node.ports import listen
from node.sections import ConnectionConfig, GatewayConfig, IkeConfig, PoolConfig
from proto.ike.auth import ResumeForm
from proto.ike.connection import ANYBODY, BOTH_FORMS, DEFAULT, Connection, Method
from proto.ike.core import Settings
from proto.ike.enums import PayloadType
from proto.ike.identity import parse_identity
from proto.ike.names import parse_children, parse_suites
from proto.ike.payloads import IdPayload
from proto.ike.redirect import parse_target
from proto.ike.selectors import parse_selector
from proto.ike.ticket import TicketForm

FORMS = {
    "both": BOTH_FORMS,
    "rfc": (ResumeForm.RFC,),
    "first-message": (ResumeForm.FIRST_MESSAGE,),
}


def endpoint_settings(config: GatewayConfig, epoch: int) -> Settings:
    """The core's settings from the configuration file."""
    ike = config.ike
    everybody = _connection(DEFAULT, ANYBODY, ike.identity, ike, config.pool)
    tables = [_of_table(table, ike, config.pool) for table in config.connection]
    return Settings(
        local_id=everybody.local_id,
        realm=config.cluster.name.encode(),
        suites=tuple(parse_suites(text) for text in ike.proposals),
        child_suites=tuple(parse_children(text) for text in ike.child_proposals),
        local_ts=everybody.local_ts,
        remote_ts=everybody.remote_ts,
        connections=(*tables, everybody),
        ike_sa_lifetime_s=ike.ike_sa_lifetime_s,
        ike_rekey_s=ike.ike_rekey_s,
        child_rekey_s=ike.child_rekey_s,
        child_pfs=ike.child_pfs,
        ticket_lifetime_s=ike.ticket_lifetime_s,
        nat_traversal=bool(listen(ike).nat),
        encapsulate_always=ike.udp_encapsulation == "always",
        fragment_octets=ike.fragment_octets,
        nat_keepalive_s=ike.nat_keepalive_s,
        resume_undetected=ike.resume_undetected_nat,
        half_open_max=ike.half_open_max,
        half_open_timeout_s=ike.half_open_timeout_s,
        cookie_threshold=ike.cookie_threshold,
        resume_forms=everybody.resume_forms,
        revoke_on_delete=ike.revoke_on_delete,
        ticket_form=TicketForm(ike.tickets),
        ticket_octets_max=ike.ticket_octets_max,
        redirect=parse_target(ike.redirect) if ike.redirect else None,
        redirect_at=ike.redirect_at,
        epoch=epoch,
    )


def _of_table(table: ConnectionConfig, ike: IkeConfig, pools: Sequence[PoolConfig]) -> Connection:
    """A [[connection]] table; what it leaves out is as in [ike]."""
    merged = msgspec.structs.replace(
        ike,
        resume_auth=table.resume_auth or ike.resume_auth,
        local_ts=table.local_ts or ike.local_ts,
        remote_ts=table.remote_ts or ike.remote_ts,
        pools=table.pools or ike.pools,
    )
    patterns = tuple(p if p == "*" else normal_pattern(p) for p in table.identity)
    made = _connection(table.name, patterns, table.local_identity or ike.identity, merged, pools)
    remote = tuple(Method(text) for text in table.remote_auth)
    return msgspec.structs.replace(
        made,
        local_auth=Method(table.local_auth),
        remote_auth=remote,
        redirect=parse_target(table.redirect) if table.redirect else None,
    )


def _connection(
    name: str,
    identities: tuple[str, ...],
    local_identity: str,
    ike: IkeConfig,
    pools: Sequence[PoolConfig],
) -> Connection:
    return Connection(
        name,
        IdPayload(PayloadType.IDr, *parse_identity(local_identity)),
        local_ts=tuple(parse_selector(text) for text in ike.local_ts),
        remote_ts=tuple(parse_selector(text) for text in ike.remote_ts),
        identities=identities,
        resume_forms=FORMS[ike.resume_auth],
        pools=core_pools(pools, ike.pools),
    )


def member_settings(config: GatewayConfig, data_dir_id: str, release: str) -> MemberSettings:
    """What the cluster is told of this member."""
    member, listens = config.member, listen(config.ike)
    return MemberSettings(
        name=member.name,
        data_dir_id=data_dir_id,
        host=member.host,
        rpc_address=member.rpc_listen,
        ike_addresses=tuple(format_address(a) for a in (*listens.ike, *listens.nat)),
        release=release,
        lease_ttl_s=member.lease_ttl_s,
        keep_alive_s=member.keep_alive_s,
        call_timeout_s=keep_alive_timeout_s(config.store),
    )
