"""Our gateways and our client as programs of a case: configuration, start, what they recorded.

Rules: they run as people run them, by the command line; what a case asserts of them is read from
recorded events and from the key log.
"""

import os
import sys
from pathlib import Path
from typing import Any

from node.pki import Authority
from node.seams import OsClock
from tests.e2e.cluster import Event, read_events, to_toml
from tests.interop.world import CaseFailed, Net, Program, World, until
from tests.interop.xfrm import EspKeys

IDENTITY = "fqdn:gw.example.com"
PSK = "a secret that only tests share, 0123456789"
EVERYBODY = ("fqdn:*", "rfc822:*")
Tables = dict[str, Any]


def psk_file(folder: Path, *identities: str) -> Path:
    """A file of pre-shared keys: one for these identities."""
    file = folder / "psk.toml"
    entries = [{"identity": identity, "secret": PSK} for identity in identities]
    lines = [f'[[psk]]\nidentity = "{e["identity"]}"\nsecret = "{e["secret"]}"\n' for e in entries]
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    return file


def merged(*layers: Tables) -> Tables:
    """Sections of configuration, later layers over earlier ones."""
    tables: Tables = {}
    for layer in layers:
        for section, keys in layer.items():
            known = tables.get(section)
            both = isinstance(known, dict) and isinstance(keys, dict)
            tables[section] = {**known, **keys} if both and known is not None else keys
    return tables


class Ours:
    """What gateways and clients have in common: a program, its events, its key log."""

    def __init__(self, world: World, net: Net, kind: str, name: str) -> None:
        self.world, self.net, self.kind, self.name = world, net, kind, name
        self.folder = world.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.events_file = self.folder / "events.jsonl"
        self.keys_folder = self.folder / "keys"
        self.config = self.folder / "config.toml"
        self.program: Program | None = None

    def start(self) -> None:
        """Start it, as the command line would."""
        command = (sys.executable, "-m", "node.cli", self.kind, "--config", str(self.config))
        self.program = self.world.start(self.name, self.net, *command)

    @property
    def running(self) -> Program:
        """Its program. Raises CaseFailed if it was never started."""
        if self.program is None:
            raise CaseFailed(f"{self.name} was not started")
        return self.program

    def events(self, kind: str, **fields: object) -> list[Event]:
        """What it recorded of that kind, with these fields."""
        return [
            event
            for event in read_events(self.events_file)
            if event["kind"] == kind and all(event.get(k) == v for k, v in fields.items())
        ]

    def records(self, kind: str, more_than: int = 0, **fields: object) -> Event:
        """The newest such event, once there are more than `more_than`."""

        def look() -> list[Event]:
            found = self.events(kind, **fields)
            return found if len(found) > more_than else []

        try:
            return until(look, f"{kind} {fields} at {self.name}")[-1]
        except CaseFailed as error:
            raise CaseFailed(f"{error}; it wrote: {self.last_lines()}") from None

    def last_lines(self) -> str:
        """The end of its log."""
        lines = [line for line in self.running.output.splitlines() if '"info"' in line or line]
        return " / ".join(line[:200] for line in lines[-4:])

    def esp_keys(self) -> dict[str, EspKeys]:
        """Every ESP SA in its key log, by SPI in hexadecimal."""
        file = self.keys_folder / "esp_sa"
        found: dict[str, EspKeys] = {}
        for line in file.read_text().splitlines() if file.exists() else ():
            cells = [cell.strip('"') for cell in line.removeprefix("# ").split(",")]
            spi, encr, integ = (cells[at].removeprefix("0x") for at in (3, 5, 7))
            found[spi] = EspKeys(spi, encr, integ)
        return found


class Gateway(Ours):
    """One member."""

    def __init__(
        self, world: World, net: Net, address: str, tables: Tables, name: str = "gw1"
    ) -> None:
        """`address`: where it listens, with the port. `tables`: over the defaults of cases."""
        super().__init__(world, net, "gateway", name)
        kek = self.folder / "kek"
        kek.write_text("00" * 32 + "\n")
        kek.chmod(0o600)
        data = self.folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        ours: Tables = {
            "cluster": {"name": "interop", "kek_file": str(kek), "shards": 16},
            "store": {"kind": "memory"},
            "member": {"name": name, "data_dir": str(data), "mirrors": 0},
            "ike": {
                "listen": [address],
                "identity": IDENTITY,
                "psk_file": str(psk_file(self.folder, *EVERYBODY)),
                "key_log_dir": str(self.keys_folder),
                "local_ts": ["10.1.0.0/16"],
                "remote_ts": ["10.2.0.0/16"],
                "ike_rekey_s": 0,
                "child_rekey_s": 0,
            },
            "log": {"level": "debug"},
            "events": {"file": str(self.events_file)},
        }
        self.config.write_text(to_toml(merged(ours, tables)))

    def start(self) -> None:
        """Start it, and wait until it serves."""
        super().start()
        self.joins()

    def joins(self) -> None:
        """Wait until it serves."""
        self.running.up(lambda: '"joined"' in self.running.output, f"{self.name} joins")


class Etcd:
    """One member of etcd, on the loopback of a namespace."""

    def __init__(self, world: World, net: Net, binary: Path) -> None:
        data = world.folder / "etcd.data"
        urls = {"client": "http://127.0.0.1:2379", "peer": "http://127.0.0.1:2380"}
        options = {
            "data-dir": str(data),
            "listen-client-urls": urls["client"],
            "advertise-client-urls": urls["client"],
            "listen-peer-urls": urls["peer"],
            "initial-advertise-peer-urls": urls["peer"],
            "initial-cluster": f"default={urls['peer']}",
        }
        self.program = world.start(
            "etcd", net, str(binary), *(f"--{key}={value}" for key, value in options.items())
        )
        self.program.up(
            lambda: "ready to serve client requests" in self.program.output, "etcd serves"
        )


class Cluster:
    """Several members at one etcd, in one namespace, each at an address of its own."""

    def __init__(self, world: World, net: Net, binary: Path, addresses: list[str], tables: Tables):
        Etcd(world, net, binary)
        authority = Authority("interop", OsClock().wall_s())
        pki = world.folder / "pki"
        pki.mkdir(mode=0o700, exist_ok=True)
        self.gateways: list[Gateway] = []
        for number, address in enumerate(addresses, 1):
            name = f"gw{number}"
            pairs = {"ca": authority.issued, name: authority.member(name)}
            for stem, pair in pairs.items():
                (pki / f"{stem}.crt").write_bytes(pair.certificate)
                key = os.open(pki / f"{stem}.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(key, "wb") as file:
                    file.write(pair.key.octets)
            member = {
                "store": {"kind": "etcd", "endpoints": ["127.0.0.1:2379"]},
                "member": {
                    "host": f"host-{number}",
                    "mirrors": 1,
                    "rpc_listen": f"127.0.0.1:{7400 + number}",
                    "ca_file": str(pki / "ca.crt"),
                    "cert_file": str(pki / f"{name}.crt"),
                    "key_file": str(pki / f"{name}.key"),
                    "lease_ttl_s": 3,
                    "keep_alive_s": 0.5,
                },
            }
            made = Gateway(world, net, address, merged(member, tables), name)
            self.gateways.append(made)
        for gateway in self.gateways:
            Ours.start(gateway)
        for gateway in self.gateways:
            gateway.joins()


class Client(Ours):
    """Our client."""

    def __init__(
        self, world: World, net: Net, gateways: list[str], tables: Tables, name: str = "client"
    ) -> None:
        super().__init__(world, net, "client", name)
        self.ticket_file = self.folder / "ticket"
        ours: Tables = {
            "client": {
                "identity": "fqdn:client.example.com",
                "remote_identity": IDENTITY,
                "psk_file": str(psk_file(self.folder, *EVERYBODY)),
                "gateways": gateways,
                "ticket_file": str(self.ticket_file),
                "key_log_dir": str(self.keys_folder),
                "liveness_interval_s": 0.5,
                "local_ts": ["10.2.0.0/16"],
                "remote_ts": ["10.1.0.0/16"],
                "ike_rekey_s": 0,
                "child_rekey_s": 0,
            },
            "log": {"level": "debug"},
            "events": {"file": str(self.events_file)},
        }
        self.config.write_text(to_toml(merged(ours, tables)))

    def up(self, how: str = "full", more_than: int = 0) -> Event:
        """Its newest `established`, once there are more than `more_than`."""
        return self.records("established", more_than, how=how)
