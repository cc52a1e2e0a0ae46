"""What `make interop` is made of does what it is there for, without a peer or root."""

import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tests.interop import plays, vici, wire, xfrm
from tests.interop.play import PARTS, REGISTERED
from tests.interop.result import COULD_NOT_RUN, FAILED, OK, Results, Row
from tests.interop.strongswan import logged_keys
from tests.interop.xfrm import EspKeys

KEY_I, KEY_R = bytes(range(36)), bytes(range(100, 136))
SPIS = ("11" * 8, "22" * 8)
NO_INTEG = "NONE [RFC4306]"


def row(outcome: str, name: str = "a row", peer: str = "a peer") -> Row:
    """What became of it."""
    return Row("a part", name, peer, outcome, "for a reason")


# -- the matrix ---------------------------------------------------------------------------------


def test_what_was_announced_and_not_reported_fails_the_matrix() -> None:
    results = Results()
    results.announce("a part", ["a row", "another"], "a peer")
    results.report(row(OK))
    assert not results.good
    results.report(row(OK, "another"))
    assert results.good


@pytest.mark.parametrize("outcome", [FAILED, COULD_NOT_RUN])
def test_only_ok_is_good(outcome: str) -> None:
    results = Results()
    results.announce("a part", ["a row"], "a peer")
    results.report(row(outcome))
    assert not results.good
    assert "for a reason" in results.matrix()


def test_nothing_at_all_is_not_good() -> None:
    assert not Results().good


def test_a_failure_is_not_made_good_again() -> None:
    results = Results()
    results.announce("a part", ["a row"], "a peer")
    results.report(row(FAILED))
    results.report(row(OK))
    assert not results.good


def test_a_play_that_could_not_run_takes_no_result_back() -> None:
    results = Results()
    results.announce("a part", ["a row", "another"], "a peer")
    results.report(row(OK))
    results.could_not_run("a part", ["a row", "another"], "a peer", "no peer")
    assert [found.outcome for found in results.rows] == [OK, COULD_NOT_RUN]


def test_rows_of_one_part_have_different_names() -> None:
    plays.load()
    for part in PARTS:
        names = [name for play in REGISTERED if play.part == part for name in play.all_rows]
        assert names
        assert len(set(names)) == len(names)


def test_the_same_row_twice_is_refused() -> None:
    results = Results()
    with pytest.raises(ValueError, match="two rows"):
        results.announce("a part", ["a row", "a row"], "a peer")


# -- what peers say -----------------------------------------------------------------------------


def test_vici_messages_come_back_as_they_went() -> None:
    message: dict[str, vici.Value] = {
        "name": "c", "children": {"net": {"ts": ["10.0.0.0/8", "::/0"], "empty": []}}, "end": "",
    }  # fmt: skip
    assert vici.decode(vici.encode(message)) == message


LOG = """\
09[ENC] parsed IKE_AUTH {kind} 1 [ IDr AUTH SA TSi TSr ]
09[CHD] encryption initiator key => 4 bytes @ 0x7f
09[CHD]    0: A8 1C A0 C9                                      ....
09[CHD] encryption responder key => 4 bytes @ 0x7f
09[CHD]    0: AF 98 9C 82                                      ....
09[CHD] adding inbound ESP SA
09[CHD]   SPI 0x3bc6a59b, src 192.0.2.1 dst 192.0.2.100
09[CHD] adding outbound ESP SA
09[CHD]   SPI 0xfef97821, src 192.0.2.100 dst 192.0.2.1
"""


@pytest.mark.parametrize(
    ("kind", "inbound", "outbound"),
    [("response", "af989c82", "a81ca0c9"), ("request", "a81ca0c9", "af989c82")],
)
def test_logged_keys_are_those_of_their_direction(kind: str, inbound: str, outbound: str) -> None:
    """Who answers receives under the initiator's keys (RFC 7296 2.17)."""
    found = list(logged_keys(LOG.format(kind=kind).splitlines()))
    assert found == [EspKeys("3bc6a59b", inbound, ""), EspKeys("fef97821", outbound, "")]


def test_the_preload_s_log_tells_keys(tmp_path: Path) -> None:
    def line(kind: int, destination: bytes) -> str:
        info = bytes(56) + destination.ljust(16, b"\0") + b"\x01\x02\x03\x04"
        key = bytes(range(20))
        aead = b"rfc4106(gcm(aes))".ljust(64, b"\0") + struct.pack("=II", 160, 128) + key
        attribute = struct.pack("=HH", 4 + len(aead), 18) + aead
        return f"{kind} {(bytes(16) + info.ljust(224, bytes(1)) + attribute).hex()}\n"

    log = tmp_path / "xfrm"
    log.write_text(line(16, b"\xc0\0\2\1") + line(16, b"") + line(17, b"\xc0\0\2\1"))
    keys = EspKeys("01020304", bytes(range(20)).hex(), "")
    assert xfrm.esp_keys(log) == {"01020304": keys}


# -- captures -----------------------------------------------------------------------------------


def sealed(cipher: AESGCM | ChaCha20Poly1305, key: bytes, plain: bytes) -> bytes:
    """A sealed message of the initiator's."""
    length = 28 + 4 + 8 + len(plain) + 16
    header = bytes.fromhex("".join(SPIS)) + bytes((46, 0x20, 35, 0x08)) + struct.pack(
        ">II", 1, length
    )  # fmt: skip
    aad = header + struct.pack(">BBH", 35, 0, length - 28)
    iv = b"iviviviv"
    return aad + iv + cipher.encrypt(key[-4:] + iv, plain, aad)


def keys_row(cipher: str, ei: bytes = KEY_I) -> wire.IkeKeys:
    """A row of the key log."""
    return wire.IkeKeys(*SPIS, ei, KEY_R, cipher, "", "", NO_INTEG)


def test_what_tshark_has_no_cipher_for_is_sealed_again_as_it_was() -> None:
    message = sealed(ChaCha20Poly1305(KEY_I[:32]), KEY_I, b"what it says")
    again = wire.sealed_again(message, [keys_row(wire.CHACHA)])
    assert again == sealed(AESGCM(KEY_I[:32]), KEY_I, b"what it says")


def test_later_keys_of_an_ike_sa_become_its_first() -> None:
    later = bytes(range(50, 86))
    message = sealed(AESGCM(later[:32]), later, b"what it says")
    rows = [keys_row(wire.GCM_256), keys_row(wire.GCM_256, later)]
    assert wire.sealed_again(message, rows) == sealed(AESGCM(KEY_I[:32]), KEY_I, b"what it says")


def test_what_no_key_opens_stays_as_it_is() -> None:
    message = sealed(AESGCM(bytes(32)), bytes(36), b"what it says")
    assert wire.sealed_again(message, [keys_row(wire.GCM_256)]) == message


def test_ike_is_found_in_a_capture_behind_the_non_esp_marker_too() -> None:
    message = sealed(AESGCM(KEY_I[:32]), KEY_I, b"what it says")

    def frame(port: int, payload: bytes) -> bytes:
        udp = struct.pack(">HHHH", 40000, port, 8 + len(payload), 0) + payload
        octets = bytes(12) + b"\x08\0" + b"\x45" + bytes(8) + b"\x11" + bytes(10) + udp
        return struct.pack("=IIII", 0, 0, len(octets), len(octets)) + octets

    frames = [
        frame(500, message),
        frame(4500, bytes(4) + message),
        frame(4500, message),
        frame(53, b""),
    ]
    pcap = bytes(24) + b"".join(frames)
    assert [pcap[begin:end] for begin, end in wire.ike_messages(pcap)] == [message, message]
