"""The Child SA of IKE_AUTH: chosen, narrowed, keyed, and never the IKE SA's end (RFC 7296 1.2, 2.9,
2.17, 2.21.2).
"""

import pytest

from proto.ike.core import Peer, Settings, replace
from proto.ike.effects import InstallChild
from proto.ike.enums import NotifyType
from proto.ike.events import Established, TicketReceived
from proto.ike.names import parse_child
from proto.ike.selectors import parse_selector, text
from tests.pair.craft import opened
from tests.pair.pair import Pair
from tests.pair.parts import PEER, SETTINGS

CHILD_SUITES = [
    "aes256gcm16",
    "aes128gcm16-esn",
    "chacha20poly1305",
    "aes256-sha256",
    "aes128-sha512-esn",
]


def installed(pair: Pair) -> tuple[InstallChild, InstallChild]:
    """The last pair of ESP SAs that client and gateway put into their kernels."""
    client = [op for op in pair.client.kernel if isinstance(op, InstallChild)]
    gateway = [op for op in pair.gateway.kernel if isinstance(op, InstallChild)]
    return client[-1], gateway[-1]


def assert_mirrored(pair: Pair) -> None:
    """What one side sends with, the other receives with."""
    client, gateway = installed(pair)
    assert (client.spi_in, client.spi_out) == (gateway.spi_out, gateway.spi_in)
    assert (client.keys_in, client.keys_out) == (gateway.keys_out, gateway.keys_in)
    assert client.keys_in != client.keys_out
    assert (client.local_ts, client.remote_ts) == (gateway.remote_ts, gateway.local_ts)
    assert client.suite == gateway.suite


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize("text", CHILD_SUITES)
def test_what_one_kernel_sends_with_the_other_receives_with(text: str, resumed: bool) -> None:
    suites = (parse_child(text),)
    pair = Pair(replace(SETTINGS, child_suites=suites), replace(PEER, child_suites=suites))
    pair.connect()
    assert_mirrored(pair)
    if resumed:
        before = installed(pair)
        pair.resume()
        assert_mirrored(pair)
        assert installed(pair)[0].keys_in != before[0].keys_in
    lengths = {len(installed(pair)[0].keys_in[0]), len(installed(pair)[1].keys_out[0])}
    assert lengths == {suites[0].encr_key_octets}


@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize(
    ("settings", "peer", "notify"),
    [
        (
            SETTINGS,
            replace(PEER, child_suites=(parse_child("chacha20poly1305"),)),
            NotifyType.NO_PROPOSAL_CHOSEN,
        ),
        (
            replace(SETTINGS, local_ts=(parse_selector("10.0.0.0/8"),)),
            replace(PEER, remote_ts=(parse_selector("192.168.0.0/16"),)),
            NotifyType.TS_UNACCEPTABLE,
        ),
        (
            replace(SETTINGS, remote_ts=(parse_selector("fd00::/8"),)),
            PEER,
            NotifyType.TS_UNACCEPTABLE,
        ),
    ],
    ids=["proposal", "selectors", "address-family"],
)
def test_a_child_that_cannot_be_made_leaves_the_ike_sa_and_its_ticket(
    settings: Settings, peer: Peer, notify: NotifyType, resumed: bool
) -> None:
    pair = Pair(settings, peer)  # R6
    spi = pair.connect()
    if resumed:
        spi = pair.resume()
    pair.agree(spi)
    answer = opened(pair.gateway.core(pair.other_end(spi)), pair.gateway.sent[-1].data)
    kinds = [n.type for n in answer.notifies]
    assert kinds.count(notify) == 1
    assert kinds.count(NotifyType.TICKET_LT_OPAQUE) == 1
    assert pair.client.core(spi).children == ()
    assert pair.gateway.kernel == pair.client.kernel == []
    assert len(pair.client.of(TicketReceived)) == len(pair.client.of(Established)) == 1 + resumed


def test_selectors_are_narrowed_to_what_both_sides_allow_in_the_peers_order() -> None:
    settings = replace(
        SETTINGS,
        local_ts=(parse_selector("10.0.0.0/8"), parse_selector("192.168.0.0/16")),
        remote_ts=(parse_selector("100.64.0.0/16"),),
    )
    peer = replace(
        PEER,
        remote_ts=(parse_selector("192.168.7.0/24"), parse_selector("10.1.0.0/16")),
        local_ts=(parse_selector("0.0.0.0/0"),),
    )
    pair = Pair(settings, peer)
    pair.connect()
    assert_mirrored(pair)
    client, _ = installed(pair)
    narrowed = [text(ts) for ts in client.remote_ts]
    assert narrowed == ["192.168.7.0-192.168.7.255", "10.1.0.0-10.1.255.255"]
    assert [text(ts) for ts in client.local_ts] == ["100.64.0.0-100.64.255.255"]


def test_the_first_child_proposal_in_the_gateways_order_is_taken() -> None:
    offered = tuple(map(parse_child, ("aes256-sha256", "aes256gcm16", "chacha20poly1305")))
    pair = Pair(peer=replace(PEER, child_suites=offered))
    spi = pair.connect()
    assert pair.client.core(spi).children[0].suite == SETTINGS.child_suites[0]
    assert_mirrored(pair)


def test_nothing_reaches_the_gateways_kernel_before_the_write_is_durable() -> None:
    pair = Pair()
    pair.hold_writes = True
    pair.connect()
    assert pair.gateway.kernel == []
    pair.release()
    assert len(pair.gateway.kernel) == 1
