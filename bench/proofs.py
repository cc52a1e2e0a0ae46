"""Who proves what in a benchmark's handshakes: the gateway's connections, what carries its errands
out, and the load's side of it.

Rules: the gateway's work is whole: production's check of chains, without a look for what is
revoked, and production's EAP. The load believes the gateway's certificate unseen, for it shares the
machine with what it measures.
"""

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog
from cryptography import x509

from bench.papers import PASSWORD, PROVEN, SIGNED, Way, client_name, gateway_name
from node.computing import Workers
from node.credentials import Credentials, PskTable
from node.eap.backend import MSCHAPV2, EapBackend, EapClient, Means
from node.eap.desk import EapDesk
from node.eap.method import Backend
from node.eap.mschapv2.crypto import nt_password_hash
from node.eap.steps import EapSteps
from node.eap.users import User, Users
from node.errands import Errands
from node.identity import PskTable as Patterns
from node.metrics import Counts
from node.observe import SparseLog
from node.proving import check_certificates
from node.seams import OsClock, OsRng
from node.supervisor import Supervisor
from node.trust.own import Own, load_anchors, load_certificates, load_key, pair
from node.trust.path import Anchors
from node.trust.verifier import Trust, TrustSettings
from proto.ike.connection import DEFAULT, Connection, Method, OwnKey
from proto.ike.core import Peer
from proto.ike.enums import PayloadType
from proto.ike.errands import Errand, Result, Undone
from proto.ike.identity import Identity, parse_identity
from proto.ike.payloads import CertreqPayload, IdPayload, TrafficSelector
from proto.ike.proofs import ChainChecked, CheckChain, EapStep
from proto.ike.rounds import Proof

AT_MOST = 4096
LIMIT_S = 30.0
IDI, IDR = PayloadType.IDi, PayloadType.IDr
Selectors = tuple[TrafficSelector, ...]
SILENT = structlog.wrap_logger(
    structlog.PrintLogger(sys.stderr), wrapper_class=structlog.make_filtering_bound_logger("error")
)
"""Standard output is for answers."""


def load_own(folder: Path, name: str) -> Own:
    """A certificate and its key."""
    return pair(load_certificates(f"{folder}/{name}.pem"), load_key(f"{folder}/{name}.key"))


def _desk(backend: Backend) -> EapSteps:
    clock = OsClock()
    desk = EapDesk(
        backend, clock, SparseLog(SILENT, clock), Counts(), at_most=AT_MOST, lifetime_s=LIMIT_S
    )
    return EapSteps(desk)


def at_once(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What comes of one that waits for nobody. Raises RuntimeError for one that does."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: Result = ended.value
        return result
    raise RuntimeError("an errand of the load's waits")


# -- the gateway ----------------------------------------------------------------------------------


class GatewayProofs:
    """All that a gateway needs to have peers of every way."""

    def __init__(self, folder: Path, psks: Patterns) -> None:
        own = tuple(load_own(folder, gateway_name(way)) for way in PROVEN)
        anchors = Anchors(load_anchors(f"{folder}/ca.pem"))
        trust = Trust(TrustSettings(anchors, own=own), OsClock())
        users = Users((User(client_name("eap_mschapv2"), nt_password_hash(PASSWORD)),))
        self.credentials = Credentials(psks, trust, users)
        self._supervisor = Supervisor()
        self.errands = Errands(self._supervisor.contain, Workers())
        check_certificates(self.errands, trust)
        backend = EapBackend((MSCHAPV2,), Means(users), "bench", OsRng())
        _desk(backend).listen(self.errands, LIMIT_S, AT_MOST)

    def connections(self, psk_id: IdPayload, anywhere: Selectors) -> tuple[Connection, ...]:
        """One for each way, chosen by which of the gateway's names is asked for."""
        made = [Connection(DEFAULT, psk_id, anywhere, anywhere)]
        for way in PROVEN:
            method = Method.CERTIFICATE if way in SIGNED else Method.EAP
            made.append(
                Connection(
                    way,
                    IdPayload(IDR, *parse_identity(f"fqdn:{gateway_name(way)}")),
                    anywhere,
                    anywhere,
                    local_auth=Method.CERTIFICATE,
                    remote_auth=(method,),
                    eap_methods=(MSCHAPV2,) if method is Method.EAP else (),
                )
            )
        return tuple(made)


# -- the load -------------------------------------------------------------------------------------


class LoadProofs(PskTable):
    """The load's credentials, and what carries its errands out, here and now."""

    def __init__(self, folder: Path | None) -> None:
        """`folder`: None where all prove themselves by a pre-shared key."""
        super().__init__(())
        self._own: dict[Identity, OwnKey] = {}
        for way in SIGNED if folder is not None else ():
            found = load_own(folder or Path(), client_name(way))
            identity = parse_identity(f"fqdn:{client_name(way)}")
            self._own[identity] = OwnKey(found.key, found.payloads())
        self._steps = _desk(EapClient("", OsRng(), nt_hash=nt_password_hash(PASSWORD)))

    def own(
        self,
        identity: Identity,
        requests: tuple[CertreqPayload, ...],
        announced: frozenset[int] | None,
    ) -> OwnKey | None:
        """See `proto.ike.credentials.Credentials.own`."""
        return self._own.get(identity)

    def carry_out(self, errand: Errand) -> Result:
        """What comes of it."""
        match errand:
            case CheckChain():
                key = x509.load_der_x509_certificate(errand.certificates[0].data).public_key()
                return ChainChecked(key)  # type: ignore[arg-type]
            case EapStep():
                return at_once(self._steps.step(errand))
            case _:
                return Undone("the load doesn't do that")


def proving(peer: Peer, way: Way) -> Peer:
    """`peer`, which proves itself so."""
    if way == "psk":
        return peer
    local_id = IdPayload(IDI, *parse_identity(f"fqdn:{client_name(way)}"))
    return Peer(
        local_id,
        IdPayload(IDR, *parse_identity(f"fqdn:{gateway_name(way)}")),
        None,
        peer.suites,
        peer.child_suites,
        peer.local_ts,
        peer.remote_ts,
        retransmit=peer.retransmit,
        proofs=(Proof(Method.CERTIFICATE if way in SIGNED else Method.EAP, local_id),),
        remote_auth=Method.CERTIFICATE,
    )
