"""The key log holds what Wireshark's tables need, and nobody but its owner reads it."""

import csv
import stat
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from node.kernel import NullKernel
from node.key_log import lane_class
from node.lane import Lane, NoCommits
from node.seams import OsClock
from proto.ike.algorithms import COMBINED, IKE_CIPHERS, INTEGS
from proto.ike.core import SaCore, State
from proto.ike.core import replace as changed
from proto.ike.effects import InstallChild, Outcome
from proto.ike.endpoint import Endpoint
from proto.ike.kdf import SaKeys
from proto.ike.names import parse_child, parse_suite
from proto.secret import Secret
from tests.unit.node.test_shell import WAY

SPI = b"r" * 8
KEYS = SaKeys(*(Secret(bytes((n,)) * 36) for n in range(7)))


class Core:
    """An endpoint with one SA."""

    def __init__(self, suite: str) -> None:
        self.core = SaCore(
            State.ESTABLISHED, False, b"i" * 8, SPI, suite=parse_suite(suite), keys=KEYS
        )

    def find(self, spi: bytes) -> SaCore | None:
        """It, by its SPI."""
        return self.core if spi == SPI else None


class Nowhere:
    """Takes every datagram."""

    def send(self, datagram: object) -> None:
        """Gone."""

    def close(self) -> None:
        """Nothing was opened."""


@pytest.fixture
def carry(tmp_path: Path) -> Callable[..., Lane]:
    """Makes a lane for an endpoint with one SA of a suite, that logs to `tmp_path/keys`."""

    def made(core: Core) -> Lane:
        lanes = lane_class(str(tmp_path / "keys"))
        endpoint = cast(Endpoint, core)
        return lanes(endpoint, NoCommits(), NullKernel(), Nowhere(), OsClock(), lambda _event: None)

    return made


def rows(file: Path) -> list[list[str]]:
    """The cells of a table, as Wireshark reads them."""
    return list(csv.reader(file.read_text().splitlines()))


def child(suite: str) -> InstallChild:
    """A pair of ESP SAs that we asked for."""
    keymat = Secret(bytes(range(144)))
    return InstallChild(b"in!!", b"out!", parse_child(suite), keymat, True, (), (), WAY)


def test_an_ike_sa_is_written_once_and_again_when_its_keys_change(
    carry: Callable[[Core], Lane], tmp_path: Path
) -> None:
    core = Core("aes256gcm16-prfsha256-x25519")
    lane = carry(core)
    lane.carry_out(Outcome(SPI))
    lane.carry_out(Outcome(SPI))
    lane.carry_out(Outcome(b"another!"))
    cipher = "AES-GCM-256 with 16 octet ICV [RFC5282]"
    row = [(b"i" * 8).hex(), SPI.hex(), "03" * 36, "04" * 36, cipher, "01" * 36, "02" * 36]
    table = tmp_path / "keys" / "ikev2_decryption_table"
    assert rows(table) == [[*row, "NONE [RFC4306]"]]
    core.core = changed(core.core, keys=changed(KEYS, ei=Secret(b"\xff" * 36)))
    lane.carry_out(Outcome(SPI))
    assert [found[2] for found in rows(table)] == ["03" * 36, "ff" * 36]


def test_each_direction_of_a_child_sa_has_the_keys_that_its_receiver_uses(
    carry: Callable[[Core], Lane], tmp_path: Path
) -> None:
    made = child("aes256-sha256")
    carry(Core("aes256gcm16-prfsha256-x25519")).carry_out(Outcome(SPI, kernel=(made,)))
    here, there = WAY.local[0], WAY.remote[0]
    inbound, outbound = made.keys_in, made.keys_out
    assert rows(tmp_path / "keys" / "esp_sa") == [
        ["IPv4", source, target, f"0x{spi.hex()}", "AES-CBC [RFC3602]", f"0x{encr.octets.hex()}",
         "HMAC-SHA-256-128 [RFC4868]", f"0x{integ.octets.hex()}"]
        for source, target, spi, (encr, integ) in (
            (there, here, made.spi_in, inbound), (here, there, made.spi_out, outbound)
        )
    ]  # fmt: skip


def test_what_wireshark_has_no_name_for_is_a_comment(
    carry: Callable[[Core], Lane], tmp_path: Path
) -> None:
    lane = carry(Core("chacha20poly1305-prfsha256-x25519"))
    lane.carry_out(Outcome(SPI, kernel=(child("chacha20poly1305"),)))
    lines = [
        line for file in (tmp_path / "keys").iterdir() for line in file.read_text().splitlines()
    ]
    assert len(lines) == 3
    assert all(line.startswith("# ") for line in lines)


@pytest.mark.parametrize("cipher", IKE_CIPHERS)
@pytest.mark.parametrize("integ", INTEGS)
def test_every_algorithm_has_a_row(
    cipher: str, integ: str, carry: Callable[[Core], Lane], tmp_path: Path
) -> None:
    combined = IKE_CIPHERS[cipher][0] in COMBINED
    name = cipher if combined else f"{cipher}-{integ}"
    lane = carry(Core(f"{name}-prfsha256-x25519"))
    lane.carry_out(Outcome(SPI, kernel=(child(name),)))
    (ike,) = (tmp_path / "keys" / "ikev2_decryption_table").read_text().splitlines()
    named = cipher != "chacha20poly1305" and (combined or not integ.startswith("aes"))
    assert ike.startswith("# ") is not named
    assert len((tmp_path / "keys" / "esp_sa").read_text().splitlines()) == 2


def test_only_the_owner_reads_it(carry: Callable[[Core], Lane], tmp_path: Path) -> None:
    carry(Core("aes256gcm16-prfsha256-x25519"))
    folder = tmp_path / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_without_a_folder_lanes_are_as_they_were() -> None:
    assert lane_class("") is Lane
