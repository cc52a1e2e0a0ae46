"""Every suite, over IPv4 and IPv6, with a pre-shared key."""

from tests.interop import stage
from tests.interop.pairs import Pair
from tests.interop.play import CHARON_CLIENT, CHARON_GATEWAY, CHARONS, Trial, play
from tests.interop.vici import Value

SUITES = {
    "PSK: AES-GCM-256, X25519": ("aes256gcm16-prfsha256-x25519", "aes256gcm16"),
    "PSK: AES-GCM-128, P-256": ("aes128gcm16-prfsha256-ecp256", "aes128gcm16"),
    "PSK: ChaCha20-Poly1305, X25519": ("chacha20poly1305-prfsha256-x25519", "chacha20poly1305"),
    "PSK: AES-CBC-256 with SHA2-256, P-256": ("aes256-sha256-prfsha256-ecp256", "aes256-sha256"),
    "PSK: AES-CBC-128 with SHA2-512, P-384": ("aes128-sha512-prfsha512-ecp384", "aes128-sha512"),
    "PSK: AES-GCM-256, SHA2-384, P-384": ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-esn"),
    "PSK: AES-CBC-256 with SHA2-256, MODP-2048": (
        "aes256-sha256-prfsha256-modp2048", "aes256-sha256",
    ),
    "PSK: AES-GCM-128, SHA2-512, P-521": ("aes128gcm16-prfsha512-ecp521", "aes128gcm16"),
    "PSK: AES-CCM-128, X448": ("aes128ccm16-prfsha256-x448", "aes128ccm16"),
    "PSK: AES-CTR-256 with SHA2-256, X25519": (
        "aes256ctr-sha256-prfsha256-x25519", "aes256ctr-sha256",
    ),
}  # fmt: skip
"""Row → what both are configured with, for IKE and for ESP."""
DEFAULTS = "PSK: everybody's defaults"
IPV6 = "PSK over IPv6"


@play(CHARON_CLIENT, "suites", CHARONS, *SUITES, DEFAULTS, IPV6)
def as_client(trial: Trial) -> None:
    """One gateway of ours that takes everything; charon offers one suite at a time."""
    everything = {
        "listen": [f"{stage.OUR_IP}:500", f"[{stage.OUR_IP6}]:500"],
        "proposals": [ike for ike, _ in SUITES.values()],
        "child_proposals": [esp for _, esp in SUITES.values()],
    }
    pair = Pair(trial, CHARON_CLIENT, tables={"ike": everything})
    for number, (row, (ike, esp)) in enumerate(SUITES.items()):
        with trial.row(row):
            pair.connection(f"c{number}", ike, esp)
            pair.up()
            pair.down()
    with trial.row(DEFAULTS):
        pair.connection("d", "default", "default")
        pair.up()
        pair.down()
    with trial.row(IPV6):
        pair.connection("v6", local_addrs=[stage.THEIR_IP6], remote_addrs=[stage.OUR_IP6])
        pair.up()
        pair.down()


@play(CHARON_GATEWAY, "suites", CHARONS, *SUITES, DEFAULTS, IPV6)
def as_gateway(trial: Trial) -> None:
    """charon takes everything; our client offers one suite at a time."""
    pair = Pair(trial, CHARON_GATEWAY)
    proposals = [ike for ike, _ in SUITES.values()]
    child: dict[str, Value] = {"esp_proposals": [esp for _, esp in SUITES.values()]}
    pair.connection(child=child, proposals=proposals)
    for row, (ike, esp) in SUITES.items():
        with trial.row(row):
            pair.up(client={"proposals": [ike], "child_proposals": [esp]})
            pair.down()
    with trial.row(DEFAULTS):
        pair.connection(ike="default", esp="default")
        pair.up()
        pair.down()
    with trial.row(IPV6):
        pair.up(f"[{stage.THEIR_IP6}]:500")
        pair.down()
