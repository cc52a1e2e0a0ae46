"""Writes the files of a sample cluster into an empty folder: what `standfast init` does.

Rules: never writes over anything; folders are 0700, every file 0600 but certificates and
configuration. Everything listens on loopback, on unprivileged ports.
"""

import os
import re
from pathlib import Path

import msgspec

from cluster.seams import Rng
from node.pki import Authority, Issued
from node.sections import NAME, RIGHT_NAME

GATEWAYS_MAX = 16
PORTS_PER_CLUSTER = 100


class InitError(Exception):
    """The sample can't be made: one line that says why."""


class Ports(msgspec.Struct, frozen=True):
    """Where a sample listens; gateway n (from 1) takes `<base> + n`."""

    etcd: int = 2379
    etcd_peer: int = 2380
    ike: int = 5000
    rpc: int = 7400
    metrics: int = 9400


class Sample(msgspec.Struct, frozen=True):
    """What to make."""

    name: str = "sample"
    gateways: int = 3
    ports: Ports = Ports()
    shards: int = 64


def ports_from(base: int) -> Ports:
    """All ports of a sample within 100 from `base` on, so that several fit on one machine."""
    if not 1024 <= base <= 65535 - PORTS_PER_CLUSTER:
        raise InitError(f"base port {base} → 1024 to {65535 - PORTS_PER_CLUSTER}")
    return Ports(base, base + 1, base + 10, base + 40, base + 70)


def write_sample(folder: Path, sample: Sample, rng: Rng, now_wall_s: float) -> tuple[Path, ...]:
    """Make `sample` in `folder` (made too); the files, in order. Raises InitError, OSError."""
    if not re.fullmatch(NAME, sample.name):
        raise InitError(f"name {sample.name!r} → {RIGHT_NAME}")
    if not 1 <= sample.gateways <= GATEWAYS_MAX:
        raise InitError(f"{sample.gateways} gateways → 1 to {GATEWAYS_MAX}")
    root = folder.absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        wrong = "is not empty" if root.is_dir() else "is no folder"
        raise InitError(f"{root} {wrong} → an empty folder, or one that doesn't exist yet")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    root.chmod(0o700)
    for name in ("pki", "data", "tickets"):
        (root / name).mkdir(mode=0o700)
    names = [f"gw{number}" for number in range(1, sample.gateways + 1)]
    made = _write_pki(root / "pki", Authority(sample.name, now_wall_s), names)
    psk = rng.bytes(32).hex()
    client = '[[psk]]\n# the gateways, whichever answers\nidentity = "fqdn:vpn.example.com"\n'
    gateway = (
        '[[psk]]\n# who may connect; * stands for any text\nidentity = "rfc822:*@example.com"\n'
    )
    made += [
        _write(root / "kek", f"{rng.bytes(32).hex()}\n", 0o600),
        _write(root / "psk.toml", f'{gateway}secret_hex = "{psk}"\n', 0o600),
        _write(root / "client-psk.toml", f'{client}secret_hex = "{psk}"\n', 0o600),
        _write(root / "etcd.yml", _etcd_yml(root, sample.ports), 0o644),
    ]
    for number, name in enumerate(names, 1):
        made.append(_write(root / f"{name}.toml", _gateway_toml(sample, number, name), 0o644))
    made.append(_write(root / "client.toml", _client_toml(sample), 0o644))
    made.append(_write(root / "operator.toml", _operator_toml(sample), 0o644))
    return tuple(made)


def _write(path: Path, content: str | bytes, mode: int) -> Path:
    octets = content.encode() if isinstance(content, str) else content
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)  # whatever the umask
        file.write(octets)
    return path


def _write_pki(folder: Path, authority: Authority, names: list[str]) -> list[Path]:
    made: list[Path] = []
    issued: list[tuple[str, Issued]] = [
        ("ca", authority.issued),
        ("etcd", authority.etcd("etcd1")),
        ("operator", authority.operator("admin")),
        *((name, authority.member(name)) for name in names),
    ]
    for name, pair in issued:
        made.append(_write(folder / f"{name}.crt", pair.certificate, 0o644))
        made.append(_write(folder / f"{name}.key", pair.key.octets, 0o600))
    return made


def _etcd_yml(root: Path, ports: Ports) -> str:
    peer = f"http://127.0.0.1:{ports.etcd_peer}"
    client = f"https://127.0.0.1:{ports.etcd}"
    return f"""\
# One member of etcd for trying out: etcd --config-file {root}/etcd.yml
# A real cluster has three members, on three machines.
name: etcd1
data-dir: {root}/data/etcd1
listen-client-urls: {client}
advertise-client-urls: {client}
listen-peer-urls: {peer}
initial-advertise-peer-urls: {peer}
initial-cluster: etcd1={peer}
client-transport-security:
  client-cert-auth: true
  trusted-ca-file: {root}/pki/ca.crt
  cert-file: {root}/pki/etcd.crt
  key-file: {root}/pki/etcd.key
"""


def _gateway_toml(sample: Sample, number: int, name: str) -> str:
    ports = sample.ports
    return f"""\
# Every key there is: docs/configuration.md
[cluster]
name = "{sample.name}"        # also the realm that tickets are bound to
kek_file = "kek"              # key-encryption key: 32 octets as hex, mode 0600
kek_next_file = "kek.next"    # where the next one is put, to change it; not there yet
shards = {sample.shards}                   # used once, when the cluster is made, then ignored

[store]
kind = "etcd"                 # or "memory": one gateway alone, nothing is shared
endpoints = ["127.0.0.1:{ports.etcd}"]
ca_file = "pki/ca.crt"
cert_file = "pki/{name}.crt"
key_file = "pki/{name}.key"

[member]                      # towards other members it shows the same certificate
name = "{name}"
host = "host-{number}"               # failure domain: mirrors are kept on another one
data_dir = "data/{name}"
rpc_listen = "127.0.0.1:{ports.rpc + number}"
lease_ttl_s = 5               # so long after its death others may claim its shards
keep_alive_s = 1.0
heartbeat_interval_s = 0.2
suspect_after_s = 1.0
mirrors = 1                   # members that hold copies of its records

[ike]
listen = ["127.0.0.1:{ports.ike + number}"]
identity = "fqdn:vpn.example.com"
psk_file = "psk.toml"
proposals = ["aes256gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-x25519"]
child_proposals = ["aes256gcm16"]
ticket_lifetime_s = 3600      # how long a client may take to come back with its ticket

[metrics]
listen = "127.0.0.1:{ports.metrics + number}"

[log]
level = "info"
format = "console"            # or "json"
"""


def _client_toml(sample: Sample) -> str:
    ike = range(sample.ports.ike + 1, sample.ports.ike + sample.gateways + 1)
    gateways = ", ".join(f'"127.0.0.1:{port}"' for port in ike)
    return f"""\
[client]
identity = "rfc822:alice@example.com"
remote_identity = "fqdn:vpn.example.com"
psk_file = "client-psk.toml"
gateways = [{gateways}]  # tried in this order
ticket_file = "tickets/alice"  # kept at mode 0600; with it a restart resumes
liveness_interval_s = 1.0      # pause before it asks again whether its gateway lives
retransmit_initial_s = 0.5     # no answer: again after 0.5, 0.75 and 1.1 s; four in all,
retransmit_factor = 1.5        # and after 1.7 s more the gateway counts as dead
retransmit_tries = 4

[log]
level = "info"
format = "console"
"""


def _operator_toml(sample: Sample) -> str:
    rpc = range(sample.ports.rpc + 1, sample.ports.rpc + sample.gateways + 1)
    addresses = ", ".join(f'"127.0.0.1:{port}"' for port in rpc)
    return f"""\
[operator]
cluster = "{sample.name}"
addresses = [{addresses}]  # any member answers for all
ca_file = "pki/ca.crt"
cert_file = "pki/operator.crt"
key_file = "pki/operator.key"
"""
