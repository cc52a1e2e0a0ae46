"""Certificates of every kind of key, in both roles: chains, methods old and new, OCSP.

Rules: all are issued by an intermediate authority, which its holder sends along; who is looked at
knows the root alone. The root of each kind of key has that kind of key too.
"""

from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from node.seams import OsClock
from tests import pki
from tests.interop import ours, stage
from tests.interop.libreswan import P12_PASSWORD
from tests.interop.ours import Tables
from tests.interop.pairs import CLIENT_ID, FAST, GATEWAY_ID, Pair, Sides
from tests.interop.play import (
    CHARON_CLIENT,
    CHARON_GATEWAY,
    CHARONS,
    PLUTO_CLIENT,
    PLUTO_GATEWAY,
    PLUTOS,
    Trial,
    play,
)
from tests.interop.plays.libreswan_psk import NAME, connection
from tests.interop.roots import TRIXIE
from tests.interop.strongswan import Charon
from tests.interop.world import CaseFailed, expect, until

KINDS = {
    "RSA-2048": "rsa",
    "ECDSA P-256": "p256",
    "ECDSA P-384": "p384",
    "ECDSA P-521": "p521",
    "Ed25519": "ed25519",
}
OLD_KINDS = ("RSA-2048", "ECDSA P-256", "ECDSA P-384", "ECDSA P-521")
SIGNED = {name: f"certificate: {name}" for name in KINDS}
OLD = {name: f"certificate: {name}, without RFC 7427" for name in OLD_KINDS}
STAPLED = "OCSP: our answer is shown, theirs is asked for"
REVOKED = "OCSP: a revoked client is refused"
OCSP_PORT = 8888
OCSP = (
    "openssl ocsp -port 8888 -index {folder}/index.txt -CA {folder}/middle.pem -ndays 1"
    " -rsigner {folder}/middle.pem -rkey {folder}/middle.key"
)
LONG = "certificate: a chain of 3 KB, in fragments"


class Pki(NamedTuple):
    """One root with an intermediate authority, a gateway and a client below it."""

    root: pki.Authority
    middle: pki.Authority
    gateway: pki.Issued
    client: pki.Issued

    @classmethod
    def of(cls, kind: str, more_names: int = 0, ocsp_url: str = "") -> "Pki":
        """Of that kind of key; with so many more names in each certificate."""
        now_s = OsClock().wall_s()
        times: dict[str, object] = {"begins": now_s - 3600, "ends": now_s + pki.DAY_S}
        more = [f"fqdn:name-{number:03}.example.com" for number in range(more_names)]
        prefix = f"{kind} {more_names}" if more_names else kind
        root = pki.Authority.root(f"{prefix} root", kind, **times)
        middle = root.authority(f"{prefix} intermediate", kind, names=more, **times)
        for_peers: dict[str, Any] = {**times, "ocsp_urls": [ocsp_url] if ocsp_url else []}
        made = [
            middle.issue(f"CN={name},O=Interop", kind, names=[f"fqdn:{name}", *more], **for_peers)
            for name in (GATEWAY_ID, CLIENT_ID)
        ]
        return cls(root, middle, *made)

    def tables(self, folder: Path, mine: pki.Issued, stem: str) -> Tables:
        """[trust] and [[certificate]] of our side, with files below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        cert, key = mine.write(folder, stem, [self.middle.own])
        root = folder / f"{stem}-root.pem"
        root.write_bytes(self.root.own.pem)
        return {
            "trust": {"ca_file": str(root)},
            "certificate": [{"cert_file": cert, "key_file": key}],
        }

    def known(self, charon: Charon, mine: pki.Issued) -> None:
        """Root, intermediate and its own key and certificate, at charon."""
        charon.authority(self.root.own.pem)
        charon.certificate(self.middle.own.pem)
        charon.certificate(mine.pem)
        charon.key(mine.key_pem)

    def connection(self, charon_is_client: bool) -> Sides:
        """What charon's connection says of proofs."""
        mine, ours_ = (self.client, GATEWAY_ID) if charon_is_client else (self.gateway, CLIENT_ID)
        return {
            "local": {
                "auth": "pubkey",
                "id": CLIENT_ID if charon_is_client else GATEWAY_ID,
                "certs": [mine.der],
            },
            "remote": {"auth": "pubkey", "id": ours_, "cacerts": [self.root.own.der]},
        }


WITHOUT_7427 = f"{FAST}\nsignature_authentication = no"
GATEWAY_WANTS: Tables = {
    "connection": [
        {
            "name": "certified",
            "identity": ["*"],
            "local_auth": "certificate",
            "remote_auth": ["certificate"],
        }
    ]
}
CLIENT_PROVES: Tables = {"client": {"auth": ["certificate"], "remote_auth": "certificate"}}


@play(CHARON_CLIENT, "certificates", CHARONS, *SIGNED.values(), LONG)
def as_client(trial: Trial) -> None:
    """One gateway of ours with a certificate of each kind; charon shows one kind at a time."""
    several = {kind: Pki.of(kind) for kind in KINDS.values()}
    several["long"] = Pki.of("rsa", 40)
    folder = trial.stage.world.folder / "ours"
    folder.mkdir(parents=True)
    pair = Pair(trial, CHARON_CLIENT, tables=merged_trust(folder, several))
    for row, one in zip((*SIGNED.values(), LONG), several.values(), strict=True):
        with trial.row(row):
            pair.charon.forget()
            one.known(pair.charon, one.client)
            pair.connection(f"c{row[-6:].strip()}", **one.connection(charon_is_client=True))
            pair.up()
            pair.down()


@play(CHARON_GATEWAY, "certificates", CHARONS, *SIGNED.values(), LONG)
def as_gateway(trial: Trial) -> None:
    """charon has one kind at a time, and our client the same."""
    several = {kind: Pki.of(kind) for kind in KINDS.values()}
    several["long"] = Pki.of("rsa", 40)
    pair = Pair(trial, CHARON_GATEWAY)
    for row, one in zip((*SIGNED.values(), LONG), several.values(), strict=True):
        with trial.row(row):
            pair.charon.forget()
            one.known(pair.charon, one.gateway)
            pair.connection("c", **one.connection(charon_is_client=False))
            folder = trial.stage.world.folder / "ours"
            tables = one.tables(folder, one.client, row[-6:].strip())
            pair.up(**ours.merged(tables, CLIENT_PROVES))
            pair.down()


@play(CHARON_CLIENT, "certificates of old", CHARONS, *OLD.values())
def old_client(trial: Trial) -> None:
    """charon announces no hashes: methods 1 and 9 to 11."""
    several = {KINDS[kind]: Pki.of(KINDS[kind]) for kind in OLD_KINDS}
    folder = trial.stage.world.folder / "ours"
    folder.mkdir(parents=True)
    pair = Pair(trial, CHARON_CLIENT, settings=WITHOUT_7427, tables=merged_trust(folder, several))
    for row, one in zip(OLD.values(), several.values(), strict=True):
        with trial.row(row):
            pair.charon.forget()
            one.known(pair.charon, one.client)
            pair.connection("c", **one.connection(charon_is_client=True))
            pair.up()
            pair.down()


@play(CHARON_GATEWAY, "certificates of old", CHARONS, *OLD.values())
def old_gateway(trial: Trial) -> None:
    """The same, and our client's signatures looked at by charon."""
    pair = Pair(trial, CHARON_GATEWAY, settings=WITHOUT_7427)
    for row, kind in zip(OLD.values(), OLD_KINDS, strict=True):
        with trial.row(row):
            one = Pki.of(KINDS[kind])
            pair.charon.forget()
            one.known(pair.charon, one.gateway)
            pair.connection("c", **one.connection(charon_is_client=False))
            folder = trial.stage.world.folder / "ours"
            tables = one.tables(folder, one.client, KINDS[kind])
            pair.up(**ours.merged(tables, CLIENT_PROVES))
            pair.down()


@play(CHARON_CLIENT, "OCSP", (TRIXIE,), STAPLED, REVOKED)
def with_ocsp(trial: Trial) -> None:
    """openssl answers for the intermediate authority, at our side: charon can't ask it."""
    at = trial.stage
    at.flat()
    at.captures.clear()  # tshark takes what is in any CERT payload for a certificate
    folder = at.world.folder / "ours"
    url = f"http://{stage.OUR_IP}:{OCSP_PORT}/"
    one = Pki.of("p256", ocsp_url=url)
    served = {"trust": {"ocsp": "required", "crl": "off"}}
    folder.mkdir(parents=True)
    one.middle.own.write(folder, "middle")
    now_s = OsClock().wall_s()
    again = one.middle.issue(
        f"CN={CLIENT_ID},O=Interop", names=[f"fqdn:{CLIENT_ID}"], ocsp_urls=[url],
        begins=now_s - 3600, ends=now_s + pki.DAY_S,
    )  # fmt: skip
    _index(folder, V=(one.gateway, one.client), R=(again,))
    responder = at.world.start("openssl", at.left, *OCSP.format(folder=folder).split())
    responder.up(lambda: "ACCEPT" in responder.output, "openssl's responder")
    pair = Pair(
        trial, CHARON_CLIENT, tables=ours.merged(merged_trust(folder, {"p256": one}), served)
    )
    with trial.row(STAPLED):
        one.known(pair.charon, one.client)
        proofs = one.connection(charon_is_client=True)
        remote = {**proofs["remote"], "revocation": "ifuri"}
        pair.connection("c", ocsp="request", local=proofs["local"], remote=remote)
        pair.up()
        pair.charon.says("received OCSP response")
        pair.charon.says("certificate status is good")
        pair.down()
    with trial.row(REVOKED):
        pair.charon.forget()
        one.known(pair.charon, again)
        mine = {**proofs["local"], "certs": [again.der]}
        pair.connection("c", local=mine, remote=proofs["remote"])
        try:
            pair.charon.initiate("c-net")
        except CaseFailed as error:
            expect("AUTHENTICATION_FAILED" in str(error), f"charon says {error}")
            until(lambda: ": revoked" in pair.ours.running.output, "our gateway's reason")
        else:
            raise CaseFailed("a revoked certificate was taken")


def _index(folder: Path, **by_state: tuple[pki.Issued, ...]) -> None:
    """openssl's database."""
    rows = [
        f"{state}\t401231000000Z\t{'240101000000Z' if state == 'R' else ''}\t"
        f"{one.parsed.serial_number:02X}\tunknown\t/CN={one.parsed.serial_number:x}\n"
        for state, several in by_state.items()
        for one in several
    ]
    (folder / "index.txt").write_text("".join(rows))


def nss(one: Pki, mine: pki.Issued) -> bytes:
    """PKCS #12 with certificate, key and what is above, for pluto."""
    above = [one.middle.own.parsed, one.root.own.parsed]
    return pkcs12.serialize_key_and_certificates(
        b"mine",
        mine.key,
        mine.parsed,
        above,
        BestAvailableEncryption(P12_PASSWORD.encode()),
    )


LIBRESWAN_KINDS = {"RSA-2048": "rsa", "ECDSA P-256": "p256", "ECDSA P-384": "p384"}


def pluto_rows(trial: Trial, kind: str, *, gateway_is_pluto: bool) -> None:
    """One kind, in either role."""
    name, at = LIBRESWAN_KINDS[kind], trial.stage
    one = Pki.of(name)
    mine = one.gateway if gateway_is_pluto else one.client
    side = "left" if gateway_is_pluto else "right"
    section = connection(
        gateway_is_pluto,
        **{f"{side}cert": "mine", f"{side}sendcert": "always"},
        sendca="all",
        authby="rsasig" if name == "rsa" else "ecdsa",
    )
    folder = at.world.folder / "ours"
    held: dict[str, Any] = {"pkcs12": {"mine": nss(one, mine)}, "authority": one.root.own.pem}
    at.flat()
    with trial.row(SIGNED[kind]):
        if gateway_is_pluto:
            at.pluto(
                {NAME: section}, "", pkcs12={"mine": nss(one, mine)}, authority=one.root.own.pem
            )
            tables = one.tables(folder, one.client, name)
            client = at.client(**ours.merged(tables, CLIENT_PROVES))
            client.up()
            expect(client.running.end() == 0, "our client ended badly")
        else:
            folder.mkdir(parents=True)
            at.gateway(**merged_trust(folder, {name: one}))
            pluto = at.pluto({NAME: section}, "", **held)
            pluto.initiate(NAME)


for _kind in LIBRESWAN_KINDS:

    @play(PLUTO_CLIENT, f"certificates, {_kind}", PLUTOS, SIGNED[_kind])
    def pluto_client(trial: Trial, kind: str = _kind) -> None:
        """One gateway of ours with one certificate."""
        pluto_rows(trial, kind, gateway_is_pluto=False)

    @play(PLUTO_GATEWAY, f"certificates, {_kind}", PLUTOS, SIGNED[_kind])
    def pluto_gateway(trial: Trial, kind: str = _kind) -> None:
        """pluto with one certificate."""
        pluto_rows(trial, kind, gateway_is_pluto=True)


def merged_trust(folder: Path, several: dict[str, Pki]) -> Tables:
    """One gateway of ours that has a certificate of each kind, and trusts every root."""
    tables: Tables = {"trust": {}, "certificate": [], **GATEWAY_WANTS}
    roots = b""
    for stem, one in several.items():
        made = one.tables(folder, one.gateway, stem)
        tables["certificate"] += made["certificate"]
        roots += one.root.own.pem
    (folder / "roots.pem").write_bytes(roots)
    tables["trust"]["ca_file"] = str(folder / "roots.pem")
    return tables
