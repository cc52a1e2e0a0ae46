"""Post-quantum pre-shared keys (RFC 8784) with strongSwan and libreswan, in both roles.

Rules: that both ends have mixed the same PPK in is seen by the keys of the Child SA, which are
compared at the end of each play, and each end says whether there was one. strongSwan names PPKs as
PPK_ID_FIXED, and so does libreswan.
"""

from pathlib import Path
from typing import TypedDict

from tests.e2e.aaa.programs import USER
from tests.interop.libreswan import Pluto
from tests.interop.ours import Tables
from tests.interop.pairs import CLIENT_ID, GATEWAY_ID, Pair
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
from tests.interop.plays.eap import (
    ALONE_ID,
    Papers,
    client_of,
    established,
    in_two_rounds,
    served,
    shown,
)
from tests.interop.plays.libreswan_psk import NAME, connection, restart, suspend_and_resume
from tests.interop.stage import SECRETS
from tests.interop.world import CaseFailed, expect, until

PPK_ID, PPK = "ppk-of-the-office", "PPK of the office, 0123456789 ABCDEFGHIJ"
REQUIRED, OPTIONAL = "PPK, required by both", "PPK, optional for both, and there"
UNKNOWN = "PPK, optional, and the gateway lacks it: without"
TWICE_ID = ALONE_ID
"""A name of charon's, for another connection."""
REFUSED = "PPK, required by the gateway, and the client has none: refused"
REKEYED = "PPK, and both SAs rekeyed"
CERTIFICATE, BY_EAP = "PPK with certificates", "PPK with EAP-MSCHAPv2"
TWICE = "PPK with two authentications: certificate, then EAP-MSCHAPv2"
HYBRID = "PPK after an additional key exchange (RFC 9370)"
HYBRID_IKE = "aes256gcm16-prfsha256-x25519-ke1_ecp384"
RESUMED = "PPK required, suspended, and resumed"


class Wanted(TypedDict):
    """What charon's connection says of a PPK."""

    ppk_id: str
    ppk_required: str


ASKED: Wanted = {"ppk_id": PPK_ID, "ppk_required": "yes"}
OFFERED: Wanted = {"ppk_id": PPK_ID, "ppk_required": "no"}


def ppk_file(folder: Path, ppk_id: str = PPK_ID) -> str:
    """A file with that PPK."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{ppk_id}.toml"
    file.touch(mode=0o600)
    file.write_text(f'[[ppk]]\nid = "{ppk_id}"\nsecret = "{PPK}"\n')
    return str(file)


def with_ppk(trial: Trial, section: str, *, required: bool, ppk_id: str = PPK_ID) -> Tables:
    """Our side has that PPK."""
    file = ppk_file(trial.stage.world.folder / "ppk", ppk_id)
    return {section: {"ppk_file": file, "ppk_required": required}}


def used(pair: Pair, expected: bool) -> None:
    """Does charon say that its IKE SA has a PPK in it?"""
    said = pair.charon.one_sa().get("ppk", "no") == "yes"
    expect(said == expected, f"charon says {pair.charon.one_sa()}")


def says(pair: Pair, what: str) -> None:
    """It is in our side's log."""
    until(lambda: what in pair.ours.running.output, f"{what!r} in our log")


@play(CHARON_CLIENT, "PPK", CHARONS, OPTIONAL, REQUIRED, REKEYED, UNKNOWN)
def as_client(trial: Trial) -> None:
    """charon brings one to our gateway, which is content without."""
    pair = Pair(trial, CHARON_CLIENT, tables=with_ppk(trial, "ike", required=False))
    pair.charon.secret("PPK", PPK, PPK_ID)
    pair.charon.secret("PPK", PPK, "another")
    for row, wanted in ((OPTIONAL, OFFERED), (REQUIRED, ASKED)):
        with trial.row(row):
            pair.connection(row[-3:], **wanted)
            pair.up()
            used(pair, expected=True)
            pair.down()
    with trial.row(REKEYED):
        pair.connection("rekeyed", **ASKED)
        first, spi = pair.up(), pair.spi()
        pair.charon.rekey(child="rekeyed-net")
        pair.another_child(spi)
        pair.charon.rekey(ike="rekeyed")
        pair.another_ike(first)
        pair.down()
    with trial.row(UNKNOWN):
        pair.connection("unknown", ppk_id="another", ppk_required="no")
        pair.up()
        used(pair, expected=False)
        says(pair, "session without a PPK")
        pair.down()


@play(CHARON_CLIENT, "PPK required", CHARONS, REFUSED, CERTIFICATE, BY_EAP, TWICE)
def of_certain_clients(trial: Trial) -> None:
    """Our gateway takes nobody without, whatever is proven."""
    papers = Papers(trial.stage.world.folder / "papers")
    tables = served(papers)
    machines: Tables = {
        "name": "machines",
        "identity": [f"fqdn:{CLIENT_ID}"],
        "local_auth": "certificate",
        "remote_auth": ["certificate"],
    }
    several, people = tables["connection"][0], tables["connection"][-1]
    several = {**several, "identity": [f"fqdn:{TWICE_ID}"], "name": "both"}
    tables["connection"] = [several, machines, people]
    tables |= with_ppk(trial, "ike", required=True)
    pair = Pair(trial, CHARON_CLIENT, tables=tables)
    papers.theirs(pair, papers.client)
    pair.charon.secret("PPK", PPK, PPK_ID)
    with trial.row(REFUSED):
        pair.connection("without")
        try:
            pair.up()
        except CaseFailed:
            says(pair, "requires one")
        else:
            raise CaseFailed("charon was let in without a PPK")
    with trial.row(CERTIFICATE):
        local = {"auth": "pubkey", "id": CLIENT_ID, "certs": shown(papers.client)}
        remote = {"auth": "pubkey", "id": GATEWAY_ID}
        pair.connection("certificate", local=local, remote=remote, **ASKED)
        pair.up()
        used(pair, expected=True)
        pair.down()
    with trial.row(BY_EAP):
        sides = client_of("eap-mschapv2", papers, id=USER)
        pair.connection("eap", **sides, **ASKED)
        pair.up()
        established(pair, "MSCHAPV2", USER)
        used(pair, expected=True)
        pair.down()
    with trial.row(TWICE):
        pair.connection("twice", **in_two_rounds(papers, TWICE_ID), **ASKED)
        pair.up()
        used(pair, expected=True)
        pair.down()


@play(CHARON_CLIENT, "PPK and RFC 9370", CHARONS[1:], HYBRID)
def hybrid_client(trial: Trial) -> None:
    """It is mixed into the keys of the last IKE_INTERMEDIATE."""
    tables = with_ppk(trial, "ike", required=True)
    tables["ike"]["proposals"] = [HYBRID_IKE]
    pair = Pair(trial, CHARON_CLIENT, tables=tables)
    pair.charon.secret("PPK", PPK, PPK_ID)
    with trial.row(HYBRID):
        pair.connection("hybrid", HYBRID_IKE, **ASKED)
        pair.up()
        used(pair, expected=True)
        pair.down()


@play(CHARON_GATEWAY, "PPK", CHARONS, REQUIRED, OPTIONAL, REKEYED, UNKNOWN)
def as_gateway(trial: Trial) -> None:
    """Our client brings one to charon."""
    pair = Pair(trial, CHARON_GATEWAY)
    pair.charon.secret("PPK", PPK, PPK_ID)
    for row, required in ((REQUIRED, True), (OPTIONAL, False)):
        with trial.row(row):
            pair.connection(row[-3:], **(ASKED if required else OFFERED))
            pair.up(**with_ppk(trial, "client", required=required))
            used(pair, expected=True)
            pair.down()
            pair.charon.vici.call("unload-conn", {"name": row[-3:]})
    with trial.row(REKEYED):
        pair.connection("rekeyed", **ASKED)
        first, spi = pair.up(**with_ppk(trial, "client", required=True)), pair.spi()
        pair.charon.rekey(child="rekeyed-net")
        pair.another_child(spi)
        pair.charon.rekey(ike="rekeyed")
        pair.another_ike(first)
        pair.down()
        pair.charon.vici.call("unload-conn", {"name": "rekeyed"})
    with trial.row(UNKNOWN):
        # of a connection that has one charon takes that one alone
        pair.connection("unknown", ppk_required="no")
        pair.up(**with_ppk(trial, "client", required=False, ppk_id="nobody-knows"))
        used(pair, expected=False)
        pair.ours.records("without_ppk")
        pair.down()


@play(CHARON_GATEWAY, "PPK and RFC 9370", CHARONS[1:], HYBRID)
def hybrid_gateway(trial: Trial) -> None:
    """Likewise at charon."""
    pair = Pair(trial, CHARON_GATEWAY)
    pair.charon.secret("PPK", PPK, PPK_ID)
    tables = with_ppk(trial, "client", required=True)
    tables["client"]["proposals"] = [HYBRID_IKE]
    with trial.row(HYBRID):
        pair.connection("hybrid", HYBRID_IKE, **ASKED)
        pair.up(**tables)
        used(pair, expected=True)
        pair.down()


# -- libreswan ------------------------------------------------------------------------------------

THEIR_SECRETS = f'{SECRETS}@gw.example.com @client.example.com : PPKS "{PPK_ID}" "{PPK}"\n'


def mixed_in(pluto: Pluto) -> None:
    """pluto says that it has a PPK in the keys."""
    pluto.says("PPK AUTH calculated as (initiator|responder)")


@play(PLUTO_CLIENT, "PPK", PLUTOS, REQUIRED, RESUMED)
def pluto_as_client(trial: Trial) -> None:
    """pluto insists on it, and so does our gateway."""
    at = trial.stage
    at.flat()
    gateway = at.gateway(**with_ppk(trial, "ike", required=True))
    conn = connection(gateway_is_pluto=False, ppk="insist")
    pluto = at.pluto({NAME: {**conn, "ppk-ids": PPK_ID}}, THEIR_SECRETS)
    with trial.row(REQUIRED):
        pluto.initiate(NAME)
        mixed_in(pluto)
    with trial.row(RESUMED):
        suspend_and_resume(pluto)
        gateway.records("sa_established", how="resumed")


@play(PLUTO_GATEWAY, "PPK", PLUTOS, REQUIRED, RESUMED)
def pluto_as_gateway(trial: Trial) -> None:
    """Our client requires it of pluto, which insists."""
    at = trial.stage
    at.flat()
    conn = connection(gateway_is_pluto=True, ppk="insist")
    pluto = at.pluto({NAME: {**conn, "ppk-ids": PPK_ID}}, THEIR_SECRETS)
    tables = with_ppk(trial, "client", required=True)
    tables["client"]["resume_auth"] = "first-message"
    client = at.client(**tables)
    with trial.row(REQUIRED):
        client.up()
        mixed_in(pluto)
        client.records("ticket")
    with trial.row(RESUMED):
        restart(at)
        client.up("resumed")
        expect(client.running.end() == 0, "our client ended badly")
