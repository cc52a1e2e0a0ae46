"""libreswan with certificates, in both roles: full, suspended, resumed."""

import time

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from tests.interop import ours, stage
from tests.interop.libreswan import P12_PASSWORD
from tests.interop.play import PLUTO_CLIENT, PLUTO_GATEWAY, PLUTOS, Trial, play
from tests.interop.plays.libreswan_psk import NAME, connection, restart, suspend_and_resume
from tests.pki import DAY_S, Authority, Issued

FULL, RESUMED = "RSA certificates: full handshake, with a ticket", "RSA certificates: resumed"
SIGNED = {"authby": "rsasig", "leftrsasigkey": "%cert", "rightrsasigkey": "%cert"}


def papers() -> tuple[Authority, Issued, Issued]:
    """An authority, the gateway's certificate and the client's."""
    begins, ends = time.time() - 3600, time.time() + DAY_S
    root = Authority.root("interop root", "rsa", begins=begins, ends=ends)
    names = (ours.GATEWAY_NAME, ours.CLIENT_NAME)
    gateway, client = (
        root.issue(f"CN={name}", "rsa", names=[f"fqdn:{name}"], begins=begins, ends=ends)
        for name in names
    )
    return root, gateway, client


def bundle(issued: Issued, authority: Authority) -> bytes:
    """A certificate and its key, as NSS takes them."""
    lock = BestAvailableEncryption(P12_PASSWORD.encode())
    above = [authority.own.parsed]
    return pkcs12.serialize_key_and_certificates(b"own", issued.key, issued.parsed, above, lock)


@play(PLUTO_CLIENT, "certificates", PLUTOS, FULL, RESUMED)
def as_client(trial: Trial) -> None:
    """At a gateway of ours."""
    at = trial.stage
    at.flat()
    root, mine, theirs = papers()
    cert, key = mine.write(at.world.folder, "gateway")
    ca, _ = root.own.write(at.world.folder, "root")
    way = {"name": "cert", "identity": ["fqdn:*"], "local_auth": "certificate"}
    gateway = at.gateway(
        trust={"ca_file": ca},
        certificate=[{"cert_file": cert, "key_file": key}],
        connection=[{**way, "remote_auth": ["certificate"]}],
    )
    theirs_conn = connection(gateway_is_pluto=False, rightcert="own", **SIGNED)
    own = {"own": bundle(theirs, root)}
    pluto = at.pluto({NAME: theirs_conn}, "", pkcs12=own, authority=root.own.pem)
    with trial.row(FULL):
        pluto.initiate(NAME)
        pluto.says("received v2N_TICKET_LT_OPAQUE")
    with trial.row(RESUMED):
        suspend_and_resume(pluto)
        gateway.records("sa_established", how="resumed")


@play(PLUTO_GATEWAY, "certificates", PLUTOS, FULL, RESUMED)
def as_gateway(trial: Trial) -> None:
    """Our client at libreswan."""
    at = trial.stage
    at.flat()
    root, theirs, mine = papers()
    cert, key = mine.write(at.world.folder, "client-own")
    ca, _ = root.own.write(at.world.folder, "root")
    own = {"own": bundle(theirs, root)}
    there = connection(gateway_is_pluto=True, leftcert="own", **SIGNED)
    at.pluto({NAME: there}, "", pkcs12=own, authority=root.own.pem)
    proofs = {"auth": ["certificate"], "remote_auth": "certificate"}
    client = at.client(
        f"{stage.THEIR_IP}:500",
        client={"resume_auth": "first-message", **proofs},
        trust={"ca_file": ca},
        certificate=[{"cert_file": cert, "key_file": key}],
    )
    with trial.row(FULL):
        client.up()
        client.records("ticket")
    with trial.row(RESUMED):
        restart(at)
        client.up("resumed")
