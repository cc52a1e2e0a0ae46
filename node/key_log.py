"""The opt-in key log: what Wireshark needs to read this process's IKE and ESP, in its own tables.

Rules: off unless a folder for it is configured, and then a warning says so at every start: whoever
has these files reads the traffic. The folder holds `ikev2_decryption_table` and `esp_sa`, mode
0600, under the names and in the shape that Wireshark has for them: it takes the folder as its
`WIRESHARK_CONFIG_DIR`. A row that Wireshark has no name for is written as a comment. When off,
nothing on any path costs more than before.
"""

import os
from pathlib import Path

from node.lane import Lane
from proto.ike.core import SaCore
from proto.ike.effects import InstallChild, Outcome
from proto.ike.enums import Encr, Integ
from proto.ike.kdf import SaKeys
from proto.ike.suite import ChildSuite, Suite
from proto.secret import Secret

IKE_TABLE = "ikev2_decryption_table"
ESP_TABLE = "esp_sa"
SEEN_MAX = 65_536
"""IKE SAs whose rows aren't written twice; the oldest is forgotten at more."""

_IKE_ENCR = {
    Encr.ENCR_AES_CBC: "AES-CBC-{bits} [RFC3602]",
    Encr.ENCR_AES_CTR: "AES-CTR-{bits} [RFC5930]",
    Encr.ENCR_AES_CCM_8: "AES-CCM-{bits} with 8 octet ICV [RFC5282]",
    Encr.ENCR_AES_CCM_12: "AES-CCM-{bits} with 12 octet ICV [RFC5282]",
    Encr.ENCR_AES_CCM_16: "AES-CCM-{bits} with 16 octet ICV [RFC5282]",
    Encr.ENCR_AES_GCM_8: "AES-GCM-{bits} with 8 octet ICV [RFC5282]",
    Encr.ENCR_AES_GCM_12: "AES-GCM-{bits} with 12 octet ICV [RFC5282]",
    Encr.ENCR_AES_GCM_16: "AES-GCM-{bits} with 16 octet ICV [RFC5282]",
}
_IKE_INTEG = {
    0: "NONE [RFC4306]",
    Integ.AUTH_HMAC_SHA1_96: "HMAC_SHA1_96 [RFC2404]",
    Integ.AUTH_HMAC_SHA2_256_128: "HMAC_SHA2_256_128 [RFC4868]",
    Integ.AUTH_HMAC_SHA2_384_192: "HMAC_SHA2_384_192 [RFC4868]",
    Integ.AUTH_HMAC_SHA2_512_256: "HMAC_SHA2_512_256 [RFC4868]",
}
_ESP_ENCR = {
    Encr.ENCR_NULL: "NULL",
    Encr.ENCR_AES_CBC: "AES-CBC [RFC3602]",
    Encr.ENCR_AES_CTR: "AES-CTR [RFC3686]",
    Encr.ENCR_AES_GCM_8: "AES-GCM with 8 octet ICV [RFC4106]",
    Encr.ENCR_AES_GCM_12: "AES-GCM with 12 octet ICV [RFC4106]",
    Encr.ENCR_AES_GCM_16: "AES-GCM [RFC4106]",
}
_ESP_INTEG = {
    0: "NULL",
    Integ.AUTH_HMAC_SHA1_96: "HMAC-SHA-1-96 [RFC2404]",
    Integ.AUTH_AES_XCBC_96: "ANY 96-bits of Authentication [No Checking]",
    Integ.AUTH_AES_CMAC_96: "ANY 96-bits of Authentication [No Checking]",
    Integ.AUTH_HMAC_SHA2_256_128: "HMAC-SHA-256-128 [RFC4868]",
    Integ.AUTH_HMAC_SHA2_384_192: "HMAC-SHA-384-192 [RFC4868]",
    Integ.AUTH_HMAC_SHA2_512_256: "HMAC-SHA-512-256 [RFC4868]",
}


class KeyLog:
    """See the module."""

    def __init__(self, folder: str) -> None:
        """Open both tables of `folder` (made with mode 0700) for appending. Raises OSError."""
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._ike = os.open(Path(folder) / IKE_TABLE, flags, 0o600)
        self._esp = os.open(Path(folder) / ESP_TABLE, flags, 0o600)
        self._seen: dict[bytes, SaKeys] = {}

    def ike_sa(self, core: SaCore) -> None:
        """One row for an IKE SA that has keys, the first time it is seen with them."""
        keys, suite = core.keys, core.suite
        if keys is None or suite is None or self._seen.get(core.spi) is keys:
            return
        self._seen[core.spi] = keys
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        os.write(self._ike, ike_row(core.spi_i, core.spi_r, suite, keys).encode())

    def child(self, made: InstallChild) -> None:
        """Two rows for a pair of ESP SAs."""
        local, remote = made.path.local[0], made.path.remote[0]
        ways = (
            (remote, local, made.spi_in, made.keys_in),
            (local, remote, made.spi_out, made.keys_out),
        )
        for source, target, spi, keys in ways:
            os.write(self._esp, esp_row(source, target, spi, made.suite, keys).encode())


def ike_row(spi_i: bytes, spi_r: bytes, suite: Suite, keys: SaKeys) -> str:
    """A line of `ikev2_decryption_table`: SPIs, SK_ei, SK_er, cipher, SK_ai, SK_ar, integrity."""
    named, integ = _IKE_ENCR.get(Encr(suite.encr)), _IKE_INTEG.get(suite.integ)
    cipher = Encr(suite.encr).name if named is None else named.format(bits=suite.key_bits)
    cells = (
        spi_i.hex(), spi_r.hex(), _hex(keys.ei), _hex(keys.er), f'"{cipher}"',
        _hex(keys.ai), _hex(keys.ar), f'"{integ or Integ(suite.integ).name}"',
    )  # fmt: skip
    return _line(cells, named and integ)


def esp_row(
    source: str, target: str, spi: bytes, suite: ChildSuite, keys: tuple[Secret, Secret]
) -> str:
    """A line of `esp_sa`: IP version, addresses, SPI, cipher and key, integrity and key."""
    named = _ESP_ENCR.get(Encr(suite.encr))
    version = "IPv6" if ":" in source else "IPv4"
    encr, integ = ("0x" + _hex(key) if len(key) else "" for key in keys)
    cells = (
        version, source, target, f"0x{spi.hex()}", named or Encr(suite.encr).name, encr,
        _ESP_INTEG[suite.integ], integ,
    )  # fmt: skip
    return _line(tuple(f'"{cell}"' for cell in cells), named)


def _line(cells: tuple[str, ...], named: str | None) -> str:
    return f"{'' if named else '# '}{','.join(cells)}\n"


def _hex(key: Secret) -> str:
    return key.octets.hex()


class LoggingLane(Lane):
    """A lane that writes down every key it meets."""

    log: KeyLog

    def carry_out(self, outcome: Outcome) -> None:
        """See `Lane.carry_out`."""
        core = self._endpoint.find(outcome.spi) if outcome.spi else None
        if core is not None:
            self.log.ike_sa(core)
        for operation in outcome.kernel:
            if isinstance(operation, InstallChild):
                self.log.child(operation)
        super().carry_out(outcome)


def lane_class(folder: str) -> type[Lane]:
    """Plain lanes, or those that log to `folder` if there is one. Raises OSError."""
    if not folder:
        return Lane
    key_log = KeyLog(folder)

    class Logging(LoggingLane):
        log = key_log

    return Logging
