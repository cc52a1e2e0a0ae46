"""Independent decoders over what was captured: tshark opens and reads every message, scapy too.

Rules: what counts is what we sent: a message of ours that tshark finds malformed, warns of, or
can't open and verify with our own key log, is a finding; so is one that scapy doesn't take apart
and put together to the last octet. scapy is given what tshark opened, so nothing of ours is between
them. (Of the peer's messages nothing is demanded.)
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tests.interop import wire
from tests.interop.roots import ROOTS, TRIXIE, run
from tests.interop.world import CaseFailed

SCAPY = "scapy==2.8.0"
SCAPY_PYTHON = ROOTS / "scapy" / "bin" / "python"
SCRIPT = Path(__file__).with_name("script_scapy.py")
FINDINGS_MAX = 5
HEADER_FIELDS = 8
"""SPIs, next payload, version, exchange type, flags, message ID, length: tshark's fields of it."""
NEXT_PAYLOAD, LENGTH = 16, 24
CONTAINED, CHECK = "isakmp.enc.contained", "isakmp.enc.icd"
UNKNOWN_OID = "Dissector for OID not implemented"
"""Of an extension in a certificate; that is the certificate's business."""
RESERVED = ("isakmp.reserved", "isakmp.reserved2", "isakmp.reserved7")
EXPERT_NOTE = 0x400000
"""Severities above are warnings and errors (epan/proto.h, PI_WARN and up)."""


class Seen(NamedTuple):
    """One IKE message as tshark read it."""

    frame: str
    source: str
    in_clear: bytes
    """The message; of a sealed one its header and inner payloads; empty: it has none of its own (a
    fragment but the last)."""
    complaints: list[str]


def bring_scapy() -> None:
    """An environment of its own with scapy in it, once. Raises Missing."""
    if SCAPY_PYTHON.exists():
        return
    aside = ROOTS / "scapy.new"
    run("rm", "-rf", str(aside))
    run(sys.executable, "-m", "venv", str(aside))
    pip = (str(aside / "bin" / "python"), "-m", "pip", "install", "-q")
    run(*pip, "--disable-pip-version-check", SCAPY)
    run("rm", "-rf", str(ROOTS / "scapy"))
    aside.rename(ROOTS / "scapy")


def check(capture: Path, key_logs: list[Path], ours: Sequence[str]) -> int:
    """Read `capture` with both; how many messages were ours. Raises CaseFailed.

    `key_logs`: folders. `ours`: the addresses that we send from.
    """
    folder = capture.parent / "read"
    folder.mkdir(exist_ok=True)
    keys = wire.read_keys([log / "ikev2_decryption_table" for log in key_logs])
    wire.readable(capture, keys, folder / "pcap")
    mine = [seen for seen in tshark(folder) if seen.source in ours]
    findings = [f"tshark, frame {seen.frame}: {line}" for seen in mine for line in seen.complaints]
    findings += scapy(mine)
    if findings:
        more = len(findings) - FINDINGS_MAX
        shown = " / ".join(findings[:FINDINGS_MAX])
        raise CaseFailed(f"{shown}{f' / and {more} more' if more > 0 else ''}")
    if not mine:
        raise CaseFailed("no message of ours was captured")
    return len(mine)


def tshark(folder: Path) -> Iterator[Seen]:
    """Every IKE message in the folder's capture, by its keys."""
    inside = (
        "unshare", "--mount", "sh", "-c",
        f'mount --bind {folder} {TRIXIE.path}/mnt && exec chroot {TRIXIE.path} "$@"', "sh",
        "env", "WIRESHARK_CONFIG_DIR=/mnt", "tshark", "-r", "/mnt/pcap", "-T", "pdml",
    )  # fmt: skip
    document = ElementTree.fromstring(run(*inside))  # noqa: S314  tshark's own
    for packet in document.iter("packet"):
        address = packet.find(".//field[@name='ip.src']")
        if address is None:
            address = packet.find(".//field[@name='ipv6.src']")
        number = packet.find(".//field[@name='num']")
        for proto in packet.findall("proto[@name='isakmp']"):
            frame = "?" if number is None else number.get("show", "?")
            source = "" if address is None else address.get("show", "")
            try:
                yield _seen(frame, source, proto, packet)
            except ValueError as error:  # where it has lost its way, a field holds no octets
                yield Seen(frame, source, b"", [f"unreadable: {error}"])


def _seen(frame: str, source: str, proto: Element, packet: Element) -> Seen:
    top = [field for field in proto.findall("field") if field.get("value")]
    header = b"".join(_value(field) for field in top[:HEADER_FIELDS])
    payloads = b"".join(_value(field) for field in top[HEADER_FIELDS:])
    sealed = header[NEXT_PAYLOAD] in (wire.SK, wire.SKF)
    if sealed:
        first = proto.find("field/field[@name='isakmp.nextpayload']")
        payloads = b"".join(_value(f) for f in proto.iter("field") if f.get("name") == CONTAINED)
        head = header[:NEXT_PAYLOAD] + _value(first) + header[NEXT_PAYLOAD + 1 : LENGTH]
        header = head + (len(payloads) + len(header)).to_bytes(4, "big")
    checks = [f.get("showname", "") for f in proto.iter("field") if f.get("name") == CHECK]
    verified = bool(checks) and all("[correct]" in check for check in checks)
    said = list(_complaints(packet, sealed and not verified))
    return Seen(frame, source, header + payloads if payloads else b"", said)


def _value(field: Element | None) -> bytes:
    return b"" if field is None else bytes.fromhex(field.get("value", ""))


def _complaints(packet: Element, unopened: bool) -> Iterator[str]:
    if unopened:
        yield "not opened, or not verified, with our own key log"
    if packet.find("proto[@name='_ws.malformed']") is not None:
        yield "malformed"
    for field in packet.iter("field"):
        if field.get("name", "") in RESERVED and set(field.get("value", "")) - {"0"}:
            yield f"{field.get('showname')}"
        if field.get("name") == "_ws.expert":
            severity = field.find("field[@name='_ws.expert.severity']")
            said = field.get("showname", "")
            if UNKNOWN_OID in said or severity is None:
                continue
            if int(severity.get("show", "0")) > EXPERT_NOTE:
                yield f"expert: {said}"


def scapy(messages: list[Seen]) -> list[str]:
    """What scapy doesn't agree with."""
    lines = []
    for seen in messages:
        if seen.in_clear:
            where = f"scapy, frame {seen.frame}"
            lines.append(json.dumps({"where": where, "message": seen.in_clear.hex()}))
    done = subprocess.run(
        (str(SCAPY_PYTHON), str(SCRIPT)), input="\n".join(lines), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise CaseFailed(f"scapy: {done.stderr.strip()[-400:]}")
    return done.stdout.splitlines()
