"""strongSwan as a client of ours, with a pre-shared key: suites, rekeys, deletes, liveness."""

from tests.interop import ours, stage
from tests.interop.play import CHARON_CLIENT, CHARONS, Trial, play
from tests.interop.strongswan import Charon
from tests.interop.vici import Value
from tests.interop.world import expect, until

PSK = {
    "local": {"auth": "psk", "id": "client.example.com"},
    "remote": {"auth": "psk", "id": "gw.example.com"},
}
SUITES = {
    "PSK: AES-GCM-256, X25519": ("aes256gcm16-prfsha256-x25519", "aes256gcm16"),
    "PSK: AES-GCM-128, P-256": ("aes128gcm16-prfsha256-ecp256", "aes128gcm16"),
    "PSK: ChaCha20-Poly1305, X25519": ("chacha20poly1305-prfsha256-x25519", "chacha20poly1305"),
    "PSK: AES-CBC-256 with SHA2-256, P-256": ("aes256-sha256-prfsha256-ecp256", "aes256-sha256"),
    "PSK: AES-CBC-128 with SHA2-512, P-384": ("aes128-sha512-prfsha512-ecp384", "aes128-sha512"),
    "PSK: AES-GCM-256, SHA2-384, P-384": ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-esn"),
}
"""Row → what both are configured with, for IKE and for ESP."""
IPV6 = "PSK over IPv6"
DEFAULT = SUITES["PSK: AES-GCM-256, X25519"]


def connection(
    charon: Charon,
    name: str = "c",
    ipv6: bool = False,
    ike: str = DEFAULT[0],
    esp: str = DEFAULT[1],
    child: dict[str, Value] | None = None,
    **settings: Value,
) -> None:
    """A connection of charon's to our gateway, with the child `<name>-net`."""
    theirs = stage.THEIR_IP6 if ipv6 else stage.THEIR_IP
    our = stage.OUR_IP6 if ipv6 else stage.OUR_IP
    charon.connection(
        name,
        **{
            "version": "2",
            "local_addrs": [theirs],
            "remote_addrs": [our],
            "proposals": [ike],
            "mobike": "no",
            "unique": "never",
            "rekey_time": "0",
            **PSK,
            "children": {
                f"{name}-net": {
                    "local_ts": ["10.2.0.0/16"],
                    "remote_ts": ["10.1.0.0/16"],
                    "esp_proposals": [esp],
                    "rekey_time": "0",
                    **(child or {}),
                }
            },
            **settings,
        },
    )


@play(CHARON_CLIENT, "suites", CHARONS, *SUITES, IPV6)
def suites(trial: Trial) -> None:
    """One gateway that takes everything; charon offers one suite at a time."""
    at = trial.stage
    at.flat()
    charon = at.charon()
    charon.secret("IKE", ours.PSK)
    at.gateway(
        ike={
            "listen": [f"{stage.OUR_IP}:500", f"[{stage.OUR_IP6}]:500"],
            "proposals": [ike for ike, _ in SUITES.values()],
            "child_proposals": [esp for _, esp in SUITES.values()],
        }
    )
    for number, (row, (ike, esp)) in enumerate(SUITES.items()):
        with trial.row(row):
            connection(charon, f"c{number}", ike=ike, esp=esp)
            up_and_down(charon, f"c{number}")
    with trial.row(IPV6):
        connection(charon, "v6", ipv6=True)
        up_and_down(charon, "v6")


def up_and_down(charon: Charon, name: str) -> None:
    """The child is installed at both ends, with the same keys; then it all ends."""
    charon.initiate(f"{name}-net")
    sa = charon.one_sa()
    expect(sa["name"] == name, f"the IKE SA is of {sa['name']}")
    charon.one_child()
    charon.terminate(ike=name)
    until(lambda: not charon.sas(), "no IKE SA at charon after its Delete")
