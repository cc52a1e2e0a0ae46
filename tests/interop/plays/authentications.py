"""EAP, EAP alone, and a certificate before it, with an intermediate authority, in both roles.

Rules: each way has identities of its own, so that one gateway has a connection for each and a row
tries one. One authority is over all, with an intermediate one that the peer isn't told of before.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.interop.ours import GATEWAY_NAME
from tests.interop.pairs import FAST, Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.vici import Value
from tests.pki import DAY_S, Authority, Issued

MSCHAPV2, TLS = "EAP-MSCHAPv2, an intermediate between", "EAP-TLS, an intermediate between"
ALONE = "EAP alone, by EAP-TLS, an intermediate between"
TWICE = "certificate and then EAP-MSCHAPv2, an intermediate between"
USER, PASSWORD = "carol@example.com", "a password that only tests share"
EAP_ID = {"eap_id": USER}


class Papers(NamedTuple):
    """The authorities, and what they issued by now."""

    root: Authority
    intermediate: Authority

    def issue(self, who: str, way: str, kind: str = "rsa") -> Issued:
        """A certificate for `<way>.<who>.example.com`, with a key of that kind."""
        names = [f"fqdn:{name(who, way)}"]
        return self.intermediate.issue(who, kind, names=names, begins=begins(), ends=ends())


def begins() -> float:
    """Some time ago."""
    return time.time() - 3600


def ends() -> float:
    """Long after the play."""
    return time.time() + DAY_S


def papers() -> Papers:
    """New ones."""
    root = Authority.root("interop root", "rsa", begins=begins(), ends=ends())
    return Papers(root, root.authority("between", begins=begins(), ends=ends()))


def name(who: str, way: str) -> str:
    """Who somebody is on one of the ways."""
    return f"{way}.{who}.example.com"


def own(folder: Path, issued: Issued, above: Authority, stem: str) -> dict[str, str]:
    """A [[certificate]] of ours."""
    cert, key = issued.write(folder, stem, [above.own])
    return {"cert_file": cert, "key_file": key}


def secret_file(folder: Path, stem: str, content: str) -> str:
    """A file that only its owner reads."""
    file = folder / stem
    file.touch(mode=0o600)
    file.write_text(content)
    return str(file)


class Ways:
    """What charon and we are told of every way, on one side or the other."""

    def __init__(self, trial: Trial, part: str, settings: str = "") -> None:
        self.part = part
        self.us, self.them = ("gw", "client") if part == CHARON_CLIENT else ("client", "gw")
        self.papers = papers()
        folder = trial.stage.world.folder / "papers"
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        root, _ = self.papers.root.own.write(folder, "root")
        self.tables: dict[str, Any] = {"trust": {"ca_file": root}}
        if part == CHARON_CLIENT:
            self.tables |= self._gateway()
        self.pair = Pair(trial, part, tables=self.tables, settings=FAST + settings)
        charon = self.pair.charon
        charon.authority(self.papers.root.own.pem)
        charon.secret("EAP", PASSWORD, USER)

    def _gateway(self) -> dict[str, Any]:
        """Our file of a gateway: a connection for every way."""
        issued = {way: self.papers.issue("gw", way) for way in WAYS}
        issued["all"] = self.papers.intermediate.issue(
            "gw", "rsa", names=[f"fqdn:{GATEWAY_NAME}"], begins=begins(), ends=ends()
        )
        eap = {"local_auth": "certificate", "eap_methods": ["mschapv2"]}
        ways: dict[str, dict[str, Any]] = {
            "mschapv2": {"remote_auth": ["eap"], **eap},
            "tls": {"remote_auth": ["eap"], **eap, "eap_methods": ["tls"]},
            "alone": {"remote_auth": ["eap"], **eap, "eap_methods": ["tls"], "eap_only": True},
            "twice": {"remote_auth": ["certificate", "eap"], **eap},
        }
        user = f'[[eap_user]]\nidentity = "{USER}"\npassword = "{PASSWORD}"\n'
        return {
            "certificate": [
                own(self.folder, one, self.papers.intermediate, kind)
                for kind, one in issued.items()
            ],
            "connection": [
                {
                    "name": way,
                    "identity": [f"fqdn:{name('client', way)}"],
                    "local_identity": f"fqdn:{name('gw', way)}",
                    **what,
                }
                for way, what in ways.items()
            ],
            "eap": {
                "users_file": secret_file(self.folder, "users.toml", user),
                "ask_identity": True,
            },
        }

    def charons(self, way: str, kind: str = "rsa", **settings: Any) -> None:
        """charon's connection of one way, with a certificate of that kind for it."""
        issued = self.papers.issue(self.them, way, kind)
        self.pair.charon.key(issued.key_pem)
        chain = [issued.pem, self.papers.intermediate.own.pem]
        local: dict[str, Value] = {"auth": "pubkey", "id": name(self.them, way), "certs": chain}
        remote: dict[str, Value] = {"auth": "pubkey", "id": name(self.us, way)}
        self.pair.connection(way, **{"local": local, "remote": remote, **settings})

    def ours(self, way: str, kind: str = "rsa", **client: Any) -> dict[str, Any]:
        """Sections of our client's file for one way."""
        issued = self.papers.issue("client", way, kind)
        who = {
            "identity": f"fqdn:{name('client', way)}",
            "remote_identity": f"fqdn:{name('gw', way)}",
            "auth": ["certificate"],
            "remote_auth": "certificate",
        }
        own_table = own(self.folder, issued, self.papers.intermediate, f"client-{way}")
        return {"client": {**who, **client}, "certificate": [own_table]}


WAYS = ("mschapv2", "tls", "alone", "twice")


def up_and_down(pair: Pair, **tables: Any) -> None:
    """Connected, and ended in order."""
    pair.up(**tables)
    pair.down()


@play(CHARON_CLIENT, "authentications", CHARONS, MSCHAPV2, TLS, ALONE, TWICE)
def charon_proves(trial: Trial) -> None:
    """charon is the client."""
    ways = Ways(trial, CHARON_CLIENT)
    pair = ways.pair

    def eap(way: str, method: str) -> dict[str, Value]:
        return {"auth": method, "id": name("client", way), **EAP_ID}

    def tls(way: str) -> dict[str, Value]:
        # in TLS the gateway has one name for all
        who = {"auth": "eap-tls", "id": name("client", way), "aaa_id": GATEWAY_NAME}
        return {**who, "certs": certs_of(ways, way)}

    with trial.row(MSCHAPV2):
        ways.charons("mschapv2", local=eap("mschapv2", "eap-mschapv2"))
        up_and_down(pair)
    with trial.row(TLS):
        ways.charons("tls", local=tls("tls"))
        up_and_down(pair)
    with trial.row(ALONE):
        remote = {"auth": "eap-tls", "id": name("gw", "alone")}
        ways.charons("alone", local=tls("alone"), remote=remote)
        up_and_down(pair)
    with trial.row(TWICE):
        first = {"auth": "pubkey", "id": name("client", "twice"), "certs": certs_of(ways, "twice")}
        second = {"auth": "eap-mschapv2", "id": name("client", "twice"), **EAP_ID}
        remote = {"auth": "pubkey", "id": name("gw", "twice")}
        rounds: dict[str, Any] = {"local": first, "local-2": second, "remote": remote}
        pair.connection("twice", **rounds)
        up_and_down(pair)


def certs_of(ways: Ways, way: str) -> list[bytes]:
    """A certificate of charon's for a way, whose key it is given."""
    issued = ways.papers.issue(ways.them, way)
    ways.pair.charon.key(issued.key_pem)
    return [issued.pem, ways.papers.intermediate.own.pem]


@play(
    CHARON_GATEWAY,
    "authentications",
    CHARONS,
    MSCHAPV2,
    TLS,
    ALONE,
    TWICE,
)
def ours_proves(trial: Trial) -> None:
    """Our client proves."""
    ways = Ways(trial, CHARON_GATEWAY)
    pair = ways.pair
    password = secret_file(ways.folder, "password", PASSWORD + "\n")
    mschapv2: dict[str, Any] = {
        "eap_identity": USER,
        "eap_password_file": password,
        "eap_methods": ["mschapv2"],
    }
    with trial.row(MSCHAPV2):
        ways.charons("mschapv2", remote={"auth": "eap-mschapv2", "eap_id": "%any"})
        up_and_down(pair, **ways.ours("mschapv2", auth=["eap"], **mschapv2))
    with trial.row(TLS):
        ways.charons("tls", remote={"auth": "eap-tls", "eap_id": "%any"})
        up_and_down(pair, **ways.ours("tls", auth=["eap"], eap_methods=["tls"]))
    with trial.row(ALONE):
        local = {"auth": "eap-tls", "id": name("gw", "alone"), "certs": certs_of(ways, "alone")}
        ways.charons("alone", local=local, remote={"auth": "eap-tls", "eap_id": "%any"})
        alone = ways.ours("alone", auth=["eap"], remote_auth="eap", eap_methods=["tls"])
        up_and_down(pair, **alone)
    with trial.row(TWICE):
        local = {"auth": "pubkey", "id": name("gw", "twice"), "certs": certs_of(ways, "twice")}
        first = {"auth": "pubkey", "id": name("client", "twice")}
        second = {"auth": "eap-mschapv2", "eap_id": "%any"}
        rounds: dict[str, Any] = {"local": local, "remote": first, "remote-2": second}
        pair.connection("twice", **rounds)
        up_and_down(pair, **ways.ours("twice", auth=["certificate", "eap"], **mschapv2))
