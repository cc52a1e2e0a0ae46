"""EAP in IKE_AUTH with strongSwan, in both roles: by password, by certificate, through RADIUS, and
alone (RFC 5998).

Rules: the gateway's certificate proves it first, but where EAP is alone. Whom EAP has
authenticated is asked of our own records; that the key of the method is right both ends say by
their AUTH.
"""

from pathlib import Path

import msgspec

from tests import pki
from tests.e2e.aaa import programs
from tests.e2e.aaa.programs import PASSWORD, USER
from tests.interop import ours
from tests.interop.ours import Tables
from tests.interop.pairs import CLIENT_ID, GATEWAY_ID, Pair, Sides
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.vici import Value
from tests.interop.world import CaseFailed, expect, until
from tests.unit.node.eap.parts import Authority

MSCHAPV2, TLS = "EAP-MSCHAPv2", "EAP-TLS"
ASKED = "EAP-MSCHAPv2, the identity asked for"
ALONE = "EAP-TLS alone (RFC 5998)"
WRONG = "EAP-MSCHAPv2 with a wrong password is refused"
BOTH = "two authentications: certificate, then EAP-MSCHAPv2"
BY_RADIUS, TLS_BY_RADIUS = "EAP-MSCHAPv2 by FreeRADIUS", "EAP-TLS by FreeRADIUS"
RADIUS_AWAY = "EAP is refused while no RADIUS server answers"
ALONE_ID = "alone.example.com"
"""charon always says that it would do without the gateway's own proof: another name wants it."""


class Papers:
    """An authority, and what it has issued to both sides."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.authority = Authority()
        self.gateway = self.authority.issue("gateway", f"fqdn:{GATEWAY_ID}")
        names = (f"fqdn:{CLIENT_ID}", f"fqdn:{ALONE_ID}", f"rfc822:{USER}")
        self.client = self.authority.issue("client", *names)
        (folder / "ca.pem").write_bytes(self.authority.pem)

    def ours(self, issued: pki.Issued, stem: str) -> Tables:
        """The tables of trust for our side."""
        cert_file, key_file = issued.write(self.folder, stem)
        return {
            "trust": {"ca_file": str(self.folder / "ca.pem")},
            "certificate": [{"cert_file": cert_file, "key_file": key_file}],
        }

    def private(self, name: str, text: str) -> str:
        """A file that its owner alone reads."""
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(text)
        return str(file)

    def users(self) -> str:
        """The file of EAP's users."""
        table = f'[[eap_user]]\nidentity = "{USER}"\npassword = "{PASSWORD}"\n'
        return self.private("users.toml", table)

    def theirs(self, pair: Pair, issued: pki.Issued) -> None:
        """charon has this key, and trusts the authority."""
        pair.charon.key(issued.key_pem)
        pair.charon.authority(self.authority.pem)
        pair.charon.secret("EAP", PASSWORD, USER)


def shown(issued: pki.Issued) -> list[str]:
    """How charon is told of a certificate that it is to show."""
    return [issued.pem.decode()]


def served(papers: Papers, *radius: dict[str, str], **eap: object) -> Tables:
    """Our gateway: its certificate first, then EAP of the peer."""
    connection: dict[str, object] = {
        "name": "people",
        "identity": ["*"],
        "local_auth": "certificate",
        "remote_auth": ["eap"],
    }
    several = {**connection, "name": "both", "remote_auth": ["certificate", "eap"]}
    alone = {**connection, "name": "alone", "identity": [f"fqdn:{ALONE_ID}"], "eap_only": True}
    return {
        **papers.ours(papers.gateway, "gateway"),
        "eap": {"methods": ["tls", "mschapv2"], "users_file": papers.users(), **eap},
        "connection": [several, alone, connection],
        **({"radius": list(radius)} if radius else {}),
    }


def client_of(method: str, papers: Papers, **more: Value) -> Sides:
    """charon's two sides of a connection that proves itself by EAP."""
    local: dict[str, Value] = {"id": CLIENT_ID, **more, "auth": method}
    if method == "eap-tls":
        local["certs"] = shown(papers.client)
    return {"local": local, "remote": {"auth": "pubkey", "id": GATEWAY_ID}}


def in_two_rounds(papers: Papers, identity: str) -> Sides:
    """charon's sides of a connection that proves a certificate's identity, and then the user's."""
    first = {"auth": "pubkey", "id": identity, "certs": shown(papers.client), "round": "1"}
    then = {"auth": "eap-mschapv2", "id": USER, "eap_id": USER, "round": "2"}
    remote = {"auth": "pubkey", "id": GATEWAY_ID}
    return {"local": first, "local-2": then, "remote": remote}


def let_in(pair: Pair, method: str, identity: str) -> None:
    """charon connects as that identity by this method, and disconnects."""
    pair.up()
    established(pair, method, identity)
    pair.down()


def established(pair: Pair, method: str, identity: str) -> None:
    """Our gateway says that by this method that identity was authenticated."""
    said = [line for line in pair.ours.running.output.splitlines() if "eap: success" in line]
    expect(bool(said), "our gateway says nothing of EAP")
    line = msgspec.json.decode(said[-1])
    expect((line["method"], line["identity"]) == (method, identity), said[-1])


@play(CHARON_CLIENT, "EAP", CHARONS, MSCHAPV2, TLS, ALONE, WRONG, BOTH)
def as_client(trial: Trial) -> None:
    """charon proves itself by EAP to our gateway's own methods."""
    papers = Papers(trial.stage.world.folder / "papers")
    pair = Pair(trial, CHARON_CLIENT, tables=served(papers))
    papers.theirs(pair, papers.client)
    with trial.row(MSCHAPV2):
        # charon's name in EAP is its IDi where nobody asks for another
        pair.connection("password", **client_of("eap-mschapv2", papers, id=USER))
        let_in(pair, "MSCHAPV2", USER)
    with trial.row(TLS):
        pair.connection("tls", **client_of("eap-tls", papers))
        let_in(pair, "TLS", CLIENT_ID)
    with trial.row(ALONE):
        sides = client_of("eap-tls", papers, id=ALONE_ID)
        sides["remote"] = {"auth": "eap-tls", "id": GATEWAY_ID}
        pair.connection("alone", **sides)
        let_in(pair, "TLS", ALONE_ID)
    with trial.row(BOTH):
        pair.connection("both", **in_two_rounds(papers, CLIENT_ID))
        pair.up()
        pair.down()
    with trial.row(WRONG):
        pair.charon.secret("EAP", "another", "dave@example.com")
        pair.connection("wrong", **client_of("eap-mschapv2", papers, id="dave@example.com"))
        try:
            pair.up()
        except CaseFailed:
            said = pair.ours.running.output
            expect("unknown user 'dave@example.com'" in said, "our gateway doesn't say why")
            return
        raise CaseFailed("charon was let in with a wrong password")


@play(CHARON_CLIENT, "EAP through RADIUS", CHARONS, BY_RADIUS, TLS_BY_RADIUS, ASKED, RADIUS_AWAY)
def through_radius(trial: Trial) -> None:
    """charon proves itself to FreeRADIUS, through our gateway."""
    stage = trial.stage
    papers = Papers(stage.world.folder / "papers")
    stage.flat()
    folder = stage.world.folder / "radius"
    radius = programs.free_radius(folder, papers.gateway, papers.authority)
    library = programs.environment(programs.tools())["LD_LIBRARY_PATH"]
    server = stage.world.start(
        "freeradius", stage.left, "env", f"LD_LIBRARY_PATH={library}", *radius.command
    )
    server.up(lambda: radius.says in server.output, "FreeRADIUS listens")
    table = {
        "name": "r1",
        "address": "{}:{}".format(*radius.address),
        "secret_file": papers.private("secret", programs.SECRET),
    }
    tables = served(papers, table, methods=["radius"], ask_identity=True)
    pair = Pair(trial, CHARON_CLIENT, tables=tables)
    papers.theirs(pair, papers.client)
    with trial.row(BY_RADIUS):
        pair.connection("password", **client_of("eap-mschapv2", papers, eap_id=USER))
        let_in(pair, "MSCHAPV2", USER)
    with trial.row(ASKED):
        pair.connection("any", **client_of("eap", papers, eap_id=USER))
        let_in(pair, "MSCHAPV2", USER)
    with trial.row(TLS_BY_RADIUS):
        pair.connection("tls", **client_of("eap-tls", papers))
        let_in(pair, "TLS", CLIENT_ID)
    with trial.row(RADIUS_AWAY):
        server.kill()
        try:
            pair.up()
        except CaseFailed:
            until(lambda: "doesn't answer" in pair.ours.running.output, "why, in our gateway's log")
            return
        raise CaseFailed("charon was let in without a RADIUS server")


def proving(papers: Papers, **more: object) -> Tables:
    """Our client: EAP, after the gateway has proven itself by certificate."""
    client: dict[str, object] = {
        "auth": ["eap"],
        "remote_auth": "certificate",
        "eap_password_file": papers.private("password", PASSWORD),
        "eap_identity": USER,
    }
    return {**papers.ours(papers.client, "client"), "client": {**client, **more}}


def server_of(method: str, papers: Papers, **more: Value) -> Sides:
    """charon's two sides of a connection whose client proves itself by EAP."""
    local = {"auth": "pubkey", "id": GATEWAY_ID, "certs": shown(papers.gateway)}
    return {"local": local, "remote": {"auth": method, "id": CLIENT_ID, **more}}


@play(CHARON_GATEWAY, "EAP", CHARONS, MSCHAPV2, TLS, ALONE, WRONG, BOTH)
def as_gateway(trial: Trial) -> None:
    """Our client proves itself by EAP to charon."""
    papers = Papers(trial.stage.world.folder / "papers")
    pair = Pair(trial, CHARON_GATEWAY)
    papers.theirs(pair, papers.gateway)
    with trial.row(MSCHAPV2):
        pair.connection(**server_of("eap-mschapv2", papers, eap_id="%any"))
        pair.up(**proving(papers, eap_methods=["mschapv2"]))
        expect(pair.charon.one_sa().get("remote-eap-id") == USER, "charon knows another user")
        pair.down()
    with trial.row(TLS):
        pair.connection(**server_of("eap-tls", papers, eap_id="%any"))
        pair.up(**proving(papers, eap_methods=["tls"]))
        expect(pair.charon.one_sa().get("remote-eap-id") == USER, "charon knows another user")
        pair.down()
    with trial.row(ALONE):
        sides = server_of("eap-tls", papers, eap_id="%any")
        sides["local"] = {**sides["local"], "auth": "eap-tls"}
        pair.connection(**sides)
        pair.up(**proving(papers, eap_methods=["tls"], remote_auth="eap"))
        pair.down()
    with trial.row(BOTH):
        sides = server_of("pubkey", papers, round="1")
        sides["remote-2"] = {"auth": "eap-mschapv2", "eap_id": "%any", "round": "2"}
        pair.connection(**sides)
        pair.up(**proving(papers, auth=["certificate", "eap"], eap_methods=["mschapv2"]))
        pair.down()
    with trial.row(WRONG):
        pair.connection(**server_of("eap-mschapv2", papers, eap_id="%any"))
        wrong = proving(papers, eap_methods=["mschapv2"])
        papers.private("password", "wrong")
        client = trial.stage.client(name="wrong", **ours.merged(pair.tables, wrong))
        client.records("failed")
        expect(not client.events("established"), "our client was let in with a wrong password")
        client.running.end()
