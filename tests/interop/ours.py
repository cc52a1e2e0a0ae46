"""Our gateways and our client as programs of a case: configuration, start, what they recorded.

Rules: they run as people run them, by the command line; what a case asserts of them is read from
recorded events and from the key log.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec

from node.pki import Authority, Issued
from node.seams import OsClock
from tests.e2e.cluster import Event, read_events
from tests.interop.world import CaseFailed, Net, Program, World, until
from tests.interop.xfrm import EspKeys

CLIENT_NAME, GATEWAY_NAME = "client.example.com", "gw.example.com"
IDENTITY = f"fqdn:{GATEWAY_NAME}"
PSK = "a secret that only tests share, 0123456789"
EVERYBODY = ("fqdn:*", "rfc822:*")
SERVICE_IP, ETCD_IP = "192.0.2.1", "192.0.2.10"
MEMBER_IPS = ("192.0.2.11", "192.0.2.12", "192.0.2.13")
RPC_PORT = 7400
Tables = dict[str, Any]


def psk_file(folder: Path, *identities: str) -> Path:
    """A file of pre-shared keys: one for these identities."""
    file = folder / "psk.toml"
    entries = [{"identity": identity, "secret": PSK} for identity in identities]
    lines = [f'[[psk]]\nidentity = "{e["identity"]}"\nsecret = "{e["secret"]}"\n' for e in entries]
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    return file


def to_toml(tables: Tables) -> str:
    """Sections of plain values, and lists of such, as TOML; JSON spells those values alike."""
    lines: list[str] = []
    for section, tables_or_one in tables.items():
        several = isinstance(tables_or_one, list)
        for table in tables_or_one if several else [tables_or_one]:
            lines.append(f"[[{section}]]" if several else f"[{section}]")
            lines += [f"{key} = {msgspec.json.encode(v).decode()}" for key, v in table.items()]
    return "\n".join(lines) + "\n"


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


class Cluster:
    """Several members, each in a namespace of its own, and an etcd in another one.

    All may serve the first address of `listen`: one of them has it at a time (`serve`).
    """

    def __init__(self, world: World, hub: Net, binary: Path, tables: Tables) -> None:
        """`hub`: the namespace whose bridge joins them all."""
        self._world, self._binary = world, binary
        self._authority = Authority("interop", OsClock().wall_s())
        self._pki = world.folder / "pki"
        self._pki.mkdir(mode=0o700, exist_ok=True)
        self._keep("ca", self._authority.issued)
        store = world.attach(hub, "etcd", f"{ETCD_IP}/24")
        self._start_etcd(store)
        self.nets: list[Net] = []
        self.gateways: list[Gateway] = []
        for number, ip in enumerate(MEMBER_IPS, 1):
            net = world.attach(hub, f"gw{number}", f"{ip}/24")
            net.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind")
            self.nets.append(net)
            self.gateways.append(self._member(net, f"gw{number}", ip, tables))
        for gateway in self.gateways:
            Ours.start(gateway)
        for gateway in self.gateways:
            gateway.joins()
        self.nets[0].ip(f"addr add {SERVICE_IP}/24 dev v0")

    def move(self, origin: int, target: int) -> None:
        """The service address goes from one member to another, by number from 0."""
        self.nets[origin].ip(f"addr del {SERVICE_IP}/24 dev v0")
        self.nets[target].ip(f"addr add {SERVICE_IP}/24 dev v0")

    def operate(self, *arguments: str) -> str:
        """What the command line says to an operator, asked at the first member."""
        self._keep("operator", self._authority.operator("interop"))
        pki = self._pki
        tables = {
            "operator": {
                "cluster": "interop",
                "addresses": [f"{ip}:{RPC_PORT}" for ip in MEMBER_IPS],
                "ca_file": str(pki / "ca.crt"),
                "cert_file": str(pki / "operator.crt"),
                "key_file": str(pki / "operator.key"),
            }
        }
        config = pki / "operator.toml"
        config.write_text(to_toml(tables))
        command = (sys.executable, "-m", "node.cli", *arguments, "--config", str(config))
        return self.nets[-1].run(*command)

    def _keep(self, stem: str, issued: Issued) -> tuple[str, str]:
        """The pair's files."""
        certificate, key = self._pki / f"{stem}.crt", self._pki / f"{stem}.key"
        certificate.write_bytes(issued.certificate)
        key.touch(mode=0o600)
        key.write_bytes(issued.key.octets)
        return str(certificate), str(key)

    def _start_etcd(self, net: Net) -> None:
        certificate, key = self._keep("etcd", self._authority.etcd("etcd1", [ETCD_IP]))
        client, peer = f"https://{ETCD_IP}:2379", "http://127.0.0.1:2380"
        options = {
            "data-dir": str(self._world.folder / "etcd.data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "client-cert-auth": "true",
            "trusted-ca-file": str(self._pki / "ca.crt"),
            "cert-file": certificate,
            "key-file": key,
        }
        given = [f"--{name}={value}" for name, value in options.items()]
        etcd = self._world.start("etcd", net, str(self._binary), *given)
        etcd.up(lambda: "ready to serve client requests" in etcd.output, "etcd serves")

    def _member(self, net: Net, name: str, ip: str, tables: Tables) -> Gateway:
        certificate, key = self._keep(name, self._authority.member(name, [ip]))
        files = {"ca_file": str(self._pki / "ca.crt"), "cert_file": certificate, "key_file": key}
        ours: Tables = {
            "store": {"kind": "etcd", "endpoints": [f"{ETCD_IP}:2379"], **files},
            "member": {
                "host": name,
                "mirrors": 1,
                "rpc_listen": f"{ip}:{RPC_PORT}",
            },
            "ike": {"listen": [f"{SERVICE_IP}:500", f"{ip}:500"]},
        }
        return Gateway(self._world, net, ip, merged(ours, tables), name)


class Client(Ours):
    """Our client."""

    def __init__(
        self, world: World, net: Net, gateways: list[str], tables: Tables, name: str = "client"
    ) -> None:
        super().__init__(world, net, "client", name)
        self.ticket_file = self.folder / "ticket"
        ours: Tables = {
            "client": {
                "identity": f"fqdn:{CLIENT_NAME}",
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
