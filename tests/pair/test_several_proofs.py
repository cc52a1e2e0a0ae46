"""Several authentications (RFC 4739), repeated ones (RFC 4478) and none at all (RFC 7619)."""

import pytest

from proto.ike.connection import Connection, Method
from proto.ike.core import Peer, Settings, replace
from proto.ike.enums import AuthMethod, ExchangeType, IdType, NotifyType, PayloadType
from proto.ike.events import Ended, Failed, InitialContact, Reauthenticate
from proto.ike.message import decode_clear
from proto.ike.payloads import AuthPayload, IdPayload, NotifyPayload
from proto.ike.rounds import Proof
from tests.pair.authorities import own_key
from tests.pair.craft import opened, sealed
from tests.pair.pair import Pair
from tests.pair.parts import (
    ANY,
    BOB_ID,
    BOB_PSK,
    CLIENT_ID,
    GATEWAY_ID,
    PEER,
    PSK,
    SETTINGS,
)
from tests.pair.test_eap import ALICE, OWN, kinds, talk

MINE = own_key("p256", "machine")
MACHINE_ID = IdPayload(PayloadType.IDi, IdType.ID_FQDN, b"machine.example.com")
BY_MACHINE = Proof(Method.CERTIFICATE, MACHINE_ID)
BY_EAP = Proof(Method.EAP, CLIENT_ID)
BY_PSK = Proof(Method.PSK, BOB_ID, BOB_PSK)
PROOFS = {Method.CERTIFICATE: BY_MACHINE, Method.EAP: BY_EAP, Method.PSK: BY_PSK}


def settings_for(*methods: Method, local: Method = Method.CERTIFICATE, **more) -> Settings:
    """A gateway that wants these proofs."""
    made = Connection(
        "several", GATEWAY_ID, ANY, ANY, local_auth=local, remote_auth=methods, **more
    )
    return replace(SETTINGS, connections=(made,))


def peer_for(*proofs: Proof, remote: Method = Method.CERTIFICATE) -> Peer:
    """A client that offers these."""
    return replace(PEER, local_id=proofs[0].local_id, proofs=proofs, remote_auth=remote)


def pair_of(settings: Settings, peer: Peer) -> Pair:
    """Everything that is proven is true."""
    pair = Pair(settings, peer)
    pair.client.endpoint.settings = SETTINGS
    pair.gateway.psks.keys[GATEWAY_ID.data] = OWN
    pair.client.psks.keys[MACHINE_ID.data] = MINE
    pair.authority.trust(OWN, GATEWAY_ID.data)
    pair.authority.trust(MINE, MACHINE_ID.data)
    pair.authority.passwords[ALICE] = pair.authority.says = "swordfish"
    pair.authority.rounds = 1
    pair.gateway.psks.known[BOB_ID.data] = BOB_PSK
    return pair


def failed(pair: Pair) -> tuple[list[str], list[str]]:
    """Why it failed, by the gateway and by the client."""
    pair.connect()
    assert pair.gateway.live() == pair.client.live() == []
    assert pair.chains.writes == []
    return [e.why for e in pair.gateway.of(Failed)], [e.why for e in pair.client.of(Failed)]


# -- several (RFC 4739) -------------------------------------------------------------------------


def test_r8_r9_a_certificate_and_then_eap_is_example_2_of_the_rfc() -> None:
    pair = pair_of(settings_for(Method.CERTIFICATE, Method.EAP), peer_for(BY_MACHINE, BY_EAP))
    pair.agree(pair.connect())
    answer = decode_clear(pair.gateway.octets()[0])
    assert answer.notify(NotifyType.MULTIPLE_AUTH_SUPPORTED) is not None
    assert [kinds(message) for message in talk(pair)] == [
        [
            "IDi", "IDr", "CERT", "AUTH", "MULTIPLE_AUTH_SUPPORTED", "ANOTHER_AUTH_FOLLOWS",
            "TICKET_REQUEST", "SA", "TSi", "TSr",
        ],
        ["IDr", "CERT", "AUTH"],
        ["IDi"],
        ["EAP"],
        ["EAP"],
        ["EAP"],
        ["AUTH"],
        ["AUTH", "TICKET_LT_OPAQUE", "SA", "TSi", "TSr"],
    ]  # fmt: skip
    (core,) = pair.gateway.live()
    assert core.auth_method == "certificate+eap-password"
    assert core.idi == MACHINE_ID
    assert core.identity == "rfc822:alice@example.com"
    assert core.certificate != b""


def test_r8_r9_two_rounds_of_eap_are_example_1() -> None:
    second = IdPayload(PayloadType.IDi, IdType.ID_KEY_ID, b"badge")
    pair = pair_of(
        settings_for(Method.EAP, Method.EAP), peer_for(BY_EAP, Proof(Method.EAP, second))
    )
    pair.authority.passwords.update(badge="swordfish")
    pair.agree(pair.connect())
    assert [kinds(message) for message in talk(pair)][6:10] == [
        ["IDi"], ["EAP"], ["EAP"], ["EAP"],
    ]  # fmt: skip
    assert "ANOTHER_AUTH_FOLLOWS" in kinds(talk(pair)[4])
    said = [kinds(message) for message in talk(pair)]
    asked = [number for number, message in enumerate(said) if "TICKET_REQUEST" in message]
    given = [number for number, message in enumerate(said) if "TICKET_LT_OPAQUE" in message]
    assert (asked, given) == ([0], [len(said) - 1])
    (core,) = pair.gateway.live()
    assert (core.auth_method, core.identity) == ("eap-password+eap-password", "key_id:badge")


@pytest.mark.parametrize(
    "methods",
    [
        (Method.CERTIFICATE, Method.PSK),
        (Method.PSK, Method.CERTIFICATE),
        (Method.PSK, Method.EAP),
        (Method.EAP, Method.CERTIFICATE),
        (Method.CERTIFICATE, Method.PSK, Method.EAP),
    ],
    ids=lambda methods: "+".join(m.value for m in methods),
)
def test_every_order_of_proofs_is_taken_and_resumes(methods: tuple[Method, ...]) -> None:
    pair = pair_of(settings_for(*methods), peer_for(*[PROOFS[method] for method in methods]))
    pair.agree(pair.connect())
    (core,) = pair.gateway.live()
    expected = "+".join(m.value + "-password" * (m is Method.EAP) for m in methods)
    assert core.auth_method == expected
    pair.resume()
    (core,) = pair.gateway.live()
    assert (core.resumed, core.auth_method) == (True, expected)


def test_a_second_proof_that_is_wrong_lets_nobody_in() -> None:
    pair = pair_of(
        settings_for(Method.CERTIFICATE, Method.PSK),
        peer_for(BY_MACHINE, replace(BY_PSK, psk=PSK)),
    )
    said, told = failed(pair)
    assert said == ["wrong shared key: rfc822:bob@example.com"]
    assert told == ["the gateway answered AUTHENTICATION_FAILED"]


def test_fewer_proofs_than_wanted_let_nobody_in() -> None:
    pair = pair_of(settings_for(Method.CERTIFICATE, Method.EAP), peer_for(BY_MACHINE))
    said, _ = failed(pair)
    assert said == [
        "fqdn:machine.example.com offers no more than 1 proofs; connection several (* proves"
        " certificate+eap to fqdn:vpn.example.com)"
    ]


def test_more_proofs_than_wanted_are_declined() -> None:
    settings = settings_for(Method.CERTIFICATE)
    (one,) = settings.connections
    two = replace(one, name="two", remote_auth=(Method.EAP, Method.EAP))
    pair = pair_of(replace(settings, connections=(one, two)), peer_for(BY_MACHINE, BY_EAP))
    said, _ = failed(pair)
    assert said[0].startswith("fqdn:machine.example.com offers more than 1 proofs")


def test_another_second_proof_than_wanted_lets_nobody_in() -> None:
    pair = pair_of(settings_for(Method.CERTIFICATE, Method.EAP), peer_for(BY_MACHINE, BY_PSK))
    said, _ = failed(pair)
    assert said[0].startswith("rfc822:bob@example.com proves psk where connection several")


def test_a_gateway_that_takes_one_proof_is_not_asked_to_take_two() -> None:
    pair = pair_of(settings_for(Method.CERTIFICATE), peer_for(BY_MACHINE, BY_EAP))
    pair.connect()
    (event,) = pair.client.of(Failed)
    assert event.why == "the gateway takes one authentication; configured: 2"
    assert len(pair.client.sent) == 1


def test_the_next_proof_begins_with_an_identity() -> None:
    pair = pair_of(settings_for(Method.CERTIFICATE, Method.EAP), peer_for(BY_MACHINE, BY_EAP))
    spi = pair.start()
    pair.run(0.035)
    pair.wire.clear()
    pair.inject(pair.gateway, sealed(pair.client.core(spi), ExchangeType.IKE_AUTH, 2, []))
    (event,) = pair.gateway.of(Failed)
    assert event.why == "fqdn:machine.example.com begins another authentication without IDi"


# -- repeated (RFC 4478) ------------------------------------------------------------------------


def test_a_lifetime_is_told_and_ends_the_session_that_is_not_renewed() -> None:
    pair = pair_of(settings_for(Method.PSK, lifetime_s=600.0), peer_for(BY_PSK))
    pair.connect()
    assert pair.client.of(Reauthenticate) == [Reauthenticate(pair.client.live()[0].spi, 600)]
    (core,) = pair.gateway.live()
    assert core.auth_deadline_wall_s == core.established_wall_s + 600
    pair.run(590)
    assert pair.gateway.of(Ended) == []
    pair.run(12)
    assert [e.why for e in pair.gateway.of(Ended)] == ["lifetime over"]
    assert pair.client.live() == []  # it was told by a Delete


def test_a_rekey_does_not_prolong_it_and_a_resumption_tells_what_is_left() -> None:
    pair = pair_of(settings_for(Method.PSK, lifetime_s=600.0), peer_for(BY_PSK))
    spi = pair.connect()
    deadline = pair.gateway.live()[0].auth_deadline_wall_s
    pair.run(100)
    pair.carry_out(pair.client, pair.client.endpoint.rekey_ike(spi, pair.now))
    pair.run(1)
    assert pair.gateway.live()[0].auth_deadline_wall_s == deadline
    pair.resume()
    assert pair.gateway.live()[0].auth_deadline_wall_s == deadline
    assert 480 <= pair.client.of(Reauthenticate)[-1].lifetime_s <= 500


def test_what_eap_says_of_it_counts_too() -> None:
    pair = pair_of(settings_for(Method.EAP, lifetime_s=600.0), peer_for(BY_EAP))
    pair.authority.lifetime_s = 60.0
    pair.connect()
    (core,) = pair.gateway.live()
    assert core.auth_deadline_wall_s == core.established_wall_s + 60
    assert pair.client.of(Reauthenticate)[0].lifetime_s == 60


def test_who_has_no_lifetime_set_is_told_none() -> None:
    pair = Pair()
    pair.connect()
    assert pair.client.of(Reauthenticate) == []


def test_a_client_hears_of_it_later_too_and_a_gateway_is_not_told() -> None:
    pair = Pair()
    spi = pair.connect()
    (gateway,) = pair.gateway.live()
    notify = NotifyPayload(NotifyType.AUTH_LIFETIME, (300).to_bytes(4, "big"))
    pair.inject(pair.client, sealed(gateway, ExchangeType.INFORMATIONAL, 0, [notify]))
    assert pair.client.of(Reauthenticate) == [Reauthenticate(spi, 300)]
    odd = NotifyPayload(NotifyType.AUTH_LIFETIME, b"\0")
    pair.inject(pair.client, sealed(gateway, ExchangeType.INFORMATIONAL, 1, [odd]))
    (client,) = pair.client.live()
    pair.inject(pair.gateway, sealed(client, ExchangeType.INFORMATIONAL, 2, [notify]))
    assert len(pair.client.of(Reauthenticate)) == 1
    assert pair.gateway.of(Reauthenticate) == []


# -- none at all (RFC 7619) ---------------------------------------------------------------------

NOBODY = IdPayload(PayloadType.IDi, IdType.ID_NULL, b"")
BY_NOTHING = Proof(Method.NULL, NOBODY)


def test_null_authentication_is_taken_where_it_is_configured() -> None:
    pair = pair_of(settings_for(Method.NULL), peer_for(BY_NOTHING))
    pair.agree(pair.connect())
    (core,) = pair.gateway.live()
    assert (core.identity, core.auth_method) == ("null:", "null")
    asked = opened(pair.client.live()[0], pair.client.octets()[1])
    proof, idi = asked.find(AuthPayload), asked.identity(PayloadType.IDi)
    assert proof is not None
    assert proof.method == AuthMethod.NULL_AUTHENTICATION
    assert idi == NOBODY
    pair.resume()
    assert pair.gateway.live()[0].resumed


def test_both_sides_may_prove_nothing() -> None:
    settings = settings_for(Method.NULL, local=Method.NULL)
    pair = pair_of(settings, peer_for(BY_NOTHING, remote=Method.NULL))
    pair.agree(pair.connect())


def test_it_is_taken_nowhere_else() -> None:
    pair = Pair(peer=peer_for(BY_NOTHING, remote=Method.PSK))
    said, _ = failed(pair)
    assert "no connection for null:" in said[0]
    assert "begins with null" in said[0]


def test_an_identity_that_nobody_proved_chooses_nothing_and_is_nobodys() -> None:
    made = replace(settings_for(Method.NULL).connections[0], identities=("rfc822:bob@*",))
    settings = replace(SETTINGS, connections=(made,))
    pair = pair_of(settings, peer_for(replace(BY_NOTHING, local_id=CLIENT_ID)))
    pair.agree(pair.connect())
    assert pair.gateway.live()[0].identity == "null:"


def test_an_identity_of_nobody_has_no_data() -> None:
    odd = IdPayload(PayloadType.IDi, IdType.ID_NULL, b"x")
    pair = pair_of(settings_for(Method.NULL), peer_for(replace(BY_NOTHING, local_id=odd)))
    said, _ = failed(pair)
    assert said == ["ID_NULL with data"]


def test_a_client_that_wants_a_proof_is_content_with_no_null() -> None:
    settings = settings_for(Method.PSK, local=Method.NULL)
    pair = pair_of(settings, peer_for(BY_PSK, remote=Method.PSK))
    pair.connect()
    (event,) = pair.client.of(Failed)
    assert event.why == "the gateway's AUTH is wrong (method 13; configured: psk)"


def test_b11_of_a_peer_that_has_proven_nothing_initial_contact_means_nothing() -> None:
    alone = replace(peer_for(BY_NOTHING), initial_contact=True)
    pair = pair_of(settings_for(Method.NULL), alone)
    spi = pair.connect()
    assert pair.gateway.core(pair.other_end(spi)).auth_method == "null"
    assert pair.gateway.of(InitialContact) == []
