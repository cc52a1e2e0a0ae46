"""strongSwan and one of ours, in either role, as most plays want them.

Rules: `up` brings one IKE SA and one Child SA up, and `down` ends them from the client's side, so
that a Delete and its answer show that both are still in step.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from tests.interop import ours, stage
from tests.interop.ours import Client, Gateway, Ours, Tables
from tests.interop.play import CHARON_CLIENT, Trial
from tests.interop.strongswan import FAKED
from tests.interop.vici import Value
from tests.interop.world import CaseFailed, expect, until

CLIENT_ID, GATEWAY_ID = ours.CLIENT_NAME, ours.GATEWAY_NAME
IKE, ESP = "aes256gcm16-prfsha256-x25519", "aes256gcm16"
FAST = "retransmit_timeout = 0.7\nretransmit_base = 1.3"
"""strongSwan's usual 4 s before it says something again are too long for a case."""
Settings = Mapping[str, Value]
Sides = TypedDict(
    "Sides",
    {"local": Settings, "remote": Settings, "local-2": Settings, "remote-2": Settings},
    total=False,
)
"""What each side of charon's connection proves, first and second."""


def client_connection(
    name: str = "c", ike: str = IKE, esp: str = ESP, child: Settings | None = None,
    more: Mapping[str, Settings] | None = None,
) -> dict[str, Value]:  # fmt: skip
    """charon's connection to our gateway."""
    addresses: dict[str, Value] = {
        "local_addrs": [stage.THEIR_IP],
        "remote_addrs": [stage.OUR_IP],
        "local": {"auth": "psk", "id": CLIENT_ID},
        "remote": {"auth": "psk", "id": GATEWAY_ID},
    }
    children = {f"{name}-net": child or {}, **(more or {})}
    return {**addresses, **_common(ike, esp, "10.2.0.0/16", "10.1.0.0/16", children)}


def gateway_connection(
    name: str = "c", ike: str = IKE, esp: str = ESP, child: Settings | None = None,
    more: Mapping[str, Settings] | None = None,
) -> dict[str, Value]:  # fmt: skip
    """charon's connection for our client."""
    addresses: dict[str, Value] = {
        "local_addrs": [stage.THEIR_IP, stage.THEIR_IP6],
        "remote_addrs": ["%any"],
        "local": {"auth": "psk", "id": GATEWAY_ID},
        "remote": {"auth": "psk", "id": CLIENT_ID},
    }
    children = {f"{name}-net": child or {}, **(more or {})}
    return {**addresses, **_common(ike, esp, "10.1.0.0/16", "10.2.0.0/16", children)}


def _common(
    ike: str, esp: str, local_ts: str, remote_ts: str, children: Mapping[str, Settings]
) -> dict[str, Value]:
    return {
        "version": "2",
        "proposals": [ike],
        "mobike": "no",
        "unique": "never",
        "rekey_time": "0",
        "children": {
            called: {
                "local_ts": [local_ts],
                "remote_ts": [remote_ts],
                "esp_proposals": [esp],
                "rekey_time": "0",
                **special,
            }
            for called, special in children.items()
        },
    }


class Pair:
    """See the module. `name` is charon's of the connection; its child is `<name>-net`."""

    def __init__(
        self,
        trial: Trial,
        part: str,
        *,
        settings: str = FAST,
        esp: str = FAKED,
        tables: Tables | None = None,
        quiet: bool = False,
    ) -> None:
        """`settings`: of strongswan.conf; `tables`: sections of our side's file. A gateway of ours
        is started here, a client by `up`.
        """
        self.stage = trial.stage
        self.charon_is_client = part == CHARON_CLIENT
        self.tables = tables or {}
        if not hasattr(self.stage, "left"):
            self.stage.flat()
        self.charon = self.stage.charon(settings=settings, esp=esp, quiet=quiet)
        self.charon.secret("IKE", ours.PSK)
        self.name = ""
        self.client: Client | None = None
        self.gateway: Gateway | None = None
        if self.charon_is_client:
            self.gateway = self.stage.gateway(**self.tables)

    @property
    def ours(self) -> Ours:
        """Our side. Raises CaseFailed before there is one."""
        found = self.gateway or self.client
        if found is None:
            raise CaseFailed("our client was not started")
        return found

    def connection(
        self, name: str = "c", ike: str = IKE, esp: str = ESP, child: Settings | None = None,
        more: Mapping[str, Settings] | None = None,
        **settings: Any,
    ) -> None:  # fmt: skip
        """Load a connection of charon's; its `settings`, its `child`, `more` children."""
        self.name = name
        made = client_connection if self.charon_is_client else gateway_connection
        self.charon.connection(name, **{**made(name, ike, esp, child, more), **settings})

    def up(self, *gateways: str, **tables: Any) -> str:
        """Connect; the unique id of charon's only IKE SA, which has one Child SA."""
        if self.charon_is_client:
            self.charon.initiate(f"{self.name}-net")
        else:
            number = len(self.stage.clients)
            both = ours.merged(self.tables, tables)
            self.client = self.stage.client(*gateways, name=f"client{number}", **both)
            self.client.up()
        sa = self.charon.one_sa()
        expect(sa["name"] == self.name, f"the IKE SA is of {sa['name']}")
        self.charon.one_child()
        return str(sa["uniqueid"])

    def down(self) -> None:
        """The client's side ends it with a Delete, which is answered."""
        if self.charon_is_client:
            self.charon.terminate(ike=self.name)
            expect("giving up after" not in self.charon.log, "our gateway had stopped answering")
        else:
            expect(self.ours.running.end() == 0, "our client ended badly")
        until(lambda: not self.charon.sas(), "no IKE SA at charon after the Delete")

    def spi(self) -> str:
        """The inbound SPI of charon's only Child SA."""
        return str(self.charon.one_child()["spi-in"])

    def another_child(self, former: str) -> str:
        """The SPI of the only Child SA, once that isn't `former`."""
        until(
            lambda: [c["spi-in"] != former for c in self.charon.children()] == [True],
            f"one Child SA, another than {former}; charon: {self.charon.complaints()}",
        )
        return self.spi()

    def another_ike(self, former: str) -> str:
        """The unique id of the only IKE SA, once that isn't `former`; its Child SA is there."""
        until(
            lambda: former not in self.charon.sas() and len(self.charon.sas()) == 1,
            f"one IKE SA, another than {former}; charon: {self.charon.complaints()}",
        )
        self.charon.one_child()
        return str(self.charon.one_sa()["uniqueid"])
