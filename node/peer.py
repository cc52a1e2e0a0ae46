"""Whom a client talks to, what it proves and what it wants to be proven, from its configuration.

Rules: what is configured is there to be proven with: a key shared with the gateway, a certificate
of our own, means of EAP, authorities for the gateway's. What is wrong is one line each.
"""

import msgspec

from node.credentials import PskTable
from node.detour import Follow
from node.identity import load_psks
from node.ppk import Ppks, check_ppks, load_ppks
from node.sections import TRANSPORT, ClientConfig, ClientSection
from node.toml_strict import ConfigError, Problems, show
from node.trust.verifier import Trust
from proto.ike.auth import ResumeForm
from proto.ike.connection import DEFAULT, Method
from proto.ike.core import Peer, RetransmitPolicy
from proto.ike.enums import IdType, PayloadType
from proto.ike.exchanges.authenticated import text as text_of
from proto.ike.identity import parse_identity
from proto.ike.names import parse_children, parse_suites
from proto.ike.payloads import IdPayload
from proto.ike.rounds import Proof
from proto.ike.selectors import parse_selector
from proto.secret import Secret

RESUME_FORMS = {"rfc": ResumeForm.RFC, "first-message": ResumeForm.FIRST_MESSAGE}
PSK, CERTIFICATE, EAP = Method.PSK.value, Method.CERTIFICATE.value, Method.EAP.value


def check_client_proofs(config: ClientConfig, problems: Problems) -> None:
    """Note what is missing to prove, and to check, what is configured."""
    client = config.client
    if client.psk_file:
        try:
            load_psks(client.psk_file)
        except ConfigError as error:
            problems.lines += [f"{problems.path}: client.psk_file: {e}" for e in error.problems]
    elif PSK in (*client.auth, client.remote_auth):
        problems.add("client.psk_file", "missing", "the name of a file with pre-shared keys")
    check_ppks("client.ppk_file", client.ppk_file, required=client.ppk_required, problems=problems)
    if CERTIFICATE in client.auth and not config.certificate:
        problems.add("client.auth", show(CERTIFICATE), "needs a [[certificate]]")
    if EAP in client.auth and not (client.eap_password_file or config.certificate):
        right = "needs client.eap_password_file or a [[certificate]]"
        problems.add("client.auth", show(EAP), right)
    if client.remote_auth == CERTIFICATE and not config.trust.ca_file:
        problems.add("client.remote_auth", show(CERTIFICATE), "needs trust.ca_file")
    if client.remote_auth == EAP and client.auth[0] != EAP:
        problems.add("client.remote_auth", show(EAP), 'needs "eap" first in client.auth')


def peer_of(section: ClientSection, psks: PskTable, trust: Trust | None = None) -> Peer:
    """Whom this client talks to, from its configuration. `trust`: None where no certificates are
    used. Raises ConfigError.
    """
    exact = (lambda identity: identity) if trust is None else trust.exact
    local_id = IdPayload(PayloadType.IDi, *exact(parse_identity(section.identity)))
    remote_id = IdPayload(PayloadType.IDr, *parse_identity(section.remote_identity))
    psk = psks.psk(remote_id)
    if psk is None and PSK in (*section.auth, section.remote_auth):
        raise ConfigError(
            [f"client.psk_file: no key for {section.remote_identity} → add a [[psk]] entry for it"]
        )
    requests = () if trust is None else trust.requests(DEFAULT)
    ppks = load_ppks(section.ppk_file) if section.ppk_file else Ppks()
    ppk = ppks.first(text_of(remote_id))
    if ppk is None and section.ppk_required:
        raise ConfigError(
            [f"client.ppk_file: no PPK for {section.remote_identity} → add a [[ppk]] entry for it"]
        )
    peer = peer_with(section, local_id, remote_id, psk)
    return msgspec.structs.replace(
        peer, requests=requests, ppk=ppk, ppk_required=section.ppk_required
    )


def peer_with(
    section: ClientSection, local_id: IdPayload, remote_id: IdPayload, psk: Secret | None
) -> Peer:
    """The same, its identities and key found already."""
    return Peer(
        local_id=local_id,
        remote_id=remote_id,
        psk=psk,
        resume_form=RESUME_FORMS[section.resume_auth],
        suites=tuple(parse_suites(text) for text in section.proposals),
        child_suites=tuple(parse_children(text) for text in section.child_proposals),
        local_ts=tuple(parse_selector(text) for text in section.local_ts),
        remote_ts=tuple(parse_selector(text) for text in section.remote_ts),
        families=section.request_addresses,
        transport=section.mode == TRANSPORT,
        follows=section.follow_redirects != Follow.NEVER.value,
        retransmit=RetransmitPolicy(
            section.retransmit_initial_s, section.retransmit_factor, section.retransmit_tries
        ),
        proofs=tuple(
            Proof(Method(text), _identity(section, local_id, number, text), psk)
            for number, text in enumerate(section.auth)
        ),
        remote_auth=Method(section.remote_auth),
    )


def _identity(section: ClientSection, local_id: IdPayload, number: int, text: str) -> IdPayload:
    """Whose proof it is: ours, but for EAP after another proof, which is its user's."""
    name = section.eap_identity
    if not (number and text == EAP and name):
        return local_id
    id_type = IdType.ID_RFC822_ADDR if "@" in name else IdType.ID_KEY_ID
    return IdPayload(PayloadType.IDi, id_type, name.encode())
