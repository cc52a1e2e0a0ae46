"""What the parts are set to, from the configuration file.

Rules: pure functions; a value that a file may hold has been checked by `node.config`.
"""

from cluster.member import MemberSettings
from node.config import keep_alive_timeout_s
from node.connections import Exact, core_connections
from node.identity import format_address
from node.ports import listen
from node.sections import GatewayConfig
from proto.ike.connection import Method
from proto.ike.core import Settings
from proto.ike.names import parse_children, parse_suites
from proto.ike.payloads import CertreqPayload
from proto.ike.redirect import parse_target
from proto.ike.ticket import TicketForm


def endpoint_settings(
    config: GatewayConfig, epoch: int, exact: Exact, requests: tuple[CertreqPayload, ...]
) -> Settings:
    """The core's settings from the configuration file. `requests`: what peers are told of the
    certificates that are believed, where certificates are asked for.
    """
    ike, connections = config.ike, core_connections(config, exact)
    asked = any(Method.CERTIFICATE in connection.remote_auth for connection in connections)
    return Settings(
        local_id=connections[-1].local_id,
        realm=config.cluster.name.encode(),
        suites=tuple(parse_suites(text) for text in ike.proposals),
        child_suites=tuple(parse_children(text) for text in ike.child_proposals),
        local_ts=connections[-1].local_ts,
        remote_ts=connections[-1].remote_ts,
        connections=connections,
        requests=requests if asked else (),
        use_ppk=bool(ike.ppk_file),
        ike_sa_lifetime_s=ike.ike_sa_lifetime_s,
        ike_rekey_s=ike.ike_rekey_s,
        child_rekey_s=ike.child_rekey_s,
        child_pfs=ike.child_pfs,
        ticket_lifetime_s=ike.ticket_lifetime_s,
        nat_traversal=bool(listen(ike).nat),
        encapsulate_always=ike.udp_encapsulation == "always",
        fragment_octets=ike.fragment_octets,
        mobike=ike.mobike,
        mobike_from=ike.mobike_from,
        additional_addresses=ike.additional_addresses,
        nat_keepalive_s=ike.nat_keepalive_s,
        resume_undetected=ike.resume_undetected_nat,
        half_open_max=ike.half_open_max,
        half_open_timeout_s=ike.half_open_timeout_s,
        cookie_threshold=ike.cookie_threshold,
        half_open_source_max=ike.half_open_source_max,
        cookie_source_threshold=ike.cookie_source_threshold,
        revoke_on_delete=ike.revoke_on_delete,
        ticket_form=TicketForm(ike.tickets),
        ticket_octets_max=ike.ticket_octets_max,
        redirect=parse_target(ike.redirect) if ike.redirect else None,
        redirect_at=ike.redirect_at,
        epoch=epoch,
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
