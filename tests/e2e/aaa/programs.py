"""Starts FreeRADIUS and hostapd as RADIUS servers, and runs eapol_test."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from node.eap.mschapv2.crypto import nt_password_hash
from proto.ike.effects import Address
from tests import pki
from tests.e2e.cluster import until
from tests.unit.node.eap import radius
from tests.unit.node.eap.parts import Authority

GET = Path(__file__).parents[3] / "tools" / "get_radius.py"
SECRET = radius.SECRET.octets.decode()
USER, PASSWORD = "carol@example.com", "Grüße, Straße"
STAFF = b"staff"
SESSION_S = 3600


RADIUSD = """
name = radiusd
prefix = {folder}
libdir = {root}/usr/lib/freeradius
logdir = {folder}
run_dir = {folder}
raddbdir = {folder}
correct_escapes = true
log {{
  destination = stdout
}}
security {{
  reject_delay = 0
}}
client loopback {{
  ipaddr = 127.0.0.1
  secret = "{secret}"
  require_message_authenticator = yes
}}
modules {{
  eap {{
    default_eap_type = mschapv2
    max_sessions = 100
    tls-config common {{
      private_key_file = {folder}/server.key
      certificate_file = {folder}/server.pem
      ca_file = {folder}/ca.crt
      fragment_size = 1024
      cipher_list = "DEFAULT"
      tls_min_version = "1.2"
      tls_max_version = "1.3"
    }}
    tls {{
      tls = common
    }}
    mschapv2 {{
      send_error = yes
    }}
  }}
  mschap {{
  }}
  files {{
    filename = {folder}/users
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {port}
  }}
  authorize {{
    eap {{
      ok = return
    }}
    files
  }}
  authenticate {{
    Auth-Type MS-CHAP {{
      mschap
    }}
    eap
  }}
  post-auth {{
    update reply {{
      Class := "staff"
      Session-Timeout := {session_s}
    }}
  }}
}}
"""


def tools() -> Path:
    """Where the programs are; they are brought first."""
    done = subprocess.run((sys.executable, GET), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return Path(done.stdout.strip())


def environment(root: Path) -> dict[str, str]:
    """With the libraries that came with them."""
    folders = [*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")]
    path = ":".join(map(str, [root / "usr/lib/freeradius", *folders]))
    return {**os.environ, "LD_LIBRARY_PATH": path}


def free_port() -> int:
    """A UDP port of loopback that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _certificates(folder: Path, shown: pki.Issued, authority: Authority) -> None:
    shown.write(folder, "server")
    (folder / "ca.crt").write_bytes(authority.pem)


class RadiusProgram:
    """A RADIUS server that runs until `stop`."""

    def __init__(self, folder: Path, *command: str, says: str, port: int) -> None:
        """`says`: what its output holds once it listens."""
        self._folder = folder
        self.command = command
        self.says = says
        self._process: asyncio.subprocess.Process | None = None
        self.address: Address = ("127.0.0.1", port)

    async def start(self) -> None:
        """Until it listens."""
        with (self._folder / "log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command, stdout=log, stderr=log, env=environment(tools())
            )
        await until(self._listens, what=f"{self.command[0]} listens")

    def _listens(self) -> bool:
        if self._process is None or self._process.returncode is not None:
            raise AssertionError(self.log())
        return self.says in self.log()

    def log(self) -> str:
        """All that it said."""
        return (self._folder / "log").read_text("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT, say."""
        if self._process is not None:
            self._process.send_signal(number)

    async def stop(self) -> None:
        """At once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def free_radius(folder: Path, shown: pki.Issued, authority: Authority) -> RadiusProgram:
    """FreeRADIUS with EAP-MSCHAPv2 for USER, and EAP-TLS."""
    folder.mkdir()
    root, port = tools(), free_port()
    _certificates(folder, shown, authority)
    (folder / "users").write_text(f'"{USER}" Cleartext-Password := "{PASSWORD}"\n')
    (folder / "dictionary").write_text("")
    (folder / "radiusd.conf").write_text(
        RADIUSD.format(folder=folder, root=root, port=port, secret=SECRET, session_s=SESSION_S)
    )
    program, share = f"{root}/usr/sbin/freeradius", f"{root}/usr/share/freeradius"
    command = (program, "-X", "-d", str(folder), "-D", share)
    return RadiusProgram(folder, *command, says="Ready to process requests", port=port)


def hostapd(folder: Path, shown: pki.Issued, authority: Authority) -> RadiusProgram:
    """hostapd as a RADIUS server with EAP-MSCHAPv2 and EAP-TLS for USER."""
    folder.mkdir()
    root, port = tools(), free_port()
    _certificates(folder, shown, authority)
    (folder / "clients").write_text(f"127.0.0.1 {SECRET}\n")
    hashed = nt_password_hash(PASSWORD).octets.hex()
    (folder / "users").write_text(f'"{USER}" MSCHAPV2,TLS hash:{hashed}\n')
    (folder / "hostapd.conf").write_text(
        f"""
driver=none
logger_stdout=-1
logger_stdout_level=0
radius_server_clients={folder}/clients
radius_server_auth_port={port}
eap_server=1
eap_user_file={folder}/users
ca_cert={folder}/ca.crt
server_cert={folder}/server.pem
private_key={folder}/server.key
"""
    )
    command = (f"{root}/usr/sbin/hostapd", "-dd", str(folder / "hostapd.conf"))
    return RadiusProgram(folder, *command, says="AP-ENABLED", port=port)


async def eapol_test(folder: Path, server: Address, network: str, *more: str) -> str:
    """What eapol_test says of one authentication at `server` by `network`'s lines."""
    root = tools()
    file = folder / "eapol_test.conf"
    file.write_text(f"network={{\nkey_mgmt=IEEE8021X\n{network}\n}}\n")
    process = await asyncio.create_subprocess_exec(
        f"{root}/usr/bin/eapol_test", "-c", str(file), "-a", server[0], "-p", str(server[1]),
        "-s", SECRET, "-t", "20", *more,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(root),
    )  # fmt: skip
    said, _ = await process.communicate()
    return said.decode("utf-8", "replace")
