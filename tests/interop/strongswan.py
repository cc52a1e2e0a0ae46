"""One charon of strongSwan's, driven over vici, and what its log says of keys.

Rules: there need be no ESP in this kernel. Either it carries packets itself (`LIBIPSEC`), which it
does in UDP alone; or its ESP SAs count as installed and there are no packets (`FAKED`). What keys
it has is read from what it says of them: its log (`chd` at level 4), or the preload's.
"""

import re
import shutil
from collections.abc import Iterator, Mapping

from tests.interop import xfrm
from tests.interop.roots import ROOTS, Debian
from tests.interop.vici import Answer, Value, Vici, ViciFailed
from tests.interop.world import CaseFailed, Net, World, expect, until
from tests.interop.xfrm import EspKeys

PLUGINS = (
    "random nonce aes aesni sha1 sha2 md5 hmac kdf gcm curve25519 openssl gmp pem pkcs1 pkcs8 "
    "x509 revocation constraints pubkey resolve {kernel} kernel-netlink socket-default vici updown "
    "eap-identity eap-md5 eap-mschapv2 eap-tls counters drbg chapoly ctr ccm cmac xcbc"
)
LIBIPSEC, FAKED = "libipsec", "faked"
DAEMON = ("/usr/lib/ipsec/charon", "/usr/libexec/ipsec/charon")
INITIATE_MS = 15_000

KEY = re.compile(r"\[CHD\] (encryption|integrity) (initiator|responder) key => (\d+) bytes")
DUMP = re.compile(r"\[CHD\]\s+\d+: ((?:[0-9A-F]{2} )+)")
ADDING = re.compile(r"\[CHD\] adding (inbound|outbound) \w+ SA")
PARSED = re.compile(r"\[ENC\] parsed (?:IKE_AUTH|CREATE_CHILD_SA) (request|response)")
SPI = re.compile(r"\[CHD\]\s+SPI 0x([0-9a-f]+), src (\S+) dst (\S+)")

Section = Mapping[str, Value]


class Charon:
    """See the module."""

    def __init__(
        self,
        world: World,
        net: Net,
        debian: Debian,
        name: str = "charon",
        settings: str = "",
        esp: str = FAKED,
        quiet: bool = False,
    ) -> None:
        """`settings`: more of strongswan.conf's section charon. `esp`: LIBIPSEC or FAKED. `quiet`:
        no log.
        """
        self._esp = esp
        self.world = world
        self.net = net
        self.debian = debian
        self.folder = world.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "strongswan.conf").write_text(_conf(settings, esp, quiet))
        shutil.copyfile(ROOTS / "fake_xfrm.so", self.folder / "fake_xfrm.so")
        preload = ("LD_PRELOAD=/mnt/fake_xfrm.so", "FAKE_XFRM_LOG=/mnt/xfrm")
        environment = ("STRONGSWAN_CONF=/mnt/strongswan.conf", *(preload if esp == FAKED else ()))
        daemon = next(d for d in DAEMON if (debian.path / d.lstrip("/")).exists())
        self.program = world.start(name, net, "env", *environment, daemon, root=debian)
        self._socket = self.folder / "vici.sock"
        self.program.up(self._listens, "vici")
        self.vici = self.talk()

    def _listens(self) -> bool:
        try:
            self.talk().close()
        except OSError:
            return False
        return True

    def talk(self) -> Vici:
        """Another connection to its control socket."""
        return Vici(self._socket)

    # -- configuration --------------------------------------------------------------------------

    def connection(self, name: str, **settings: Value) -> None:
        """Load a connection, its keys as in swanctl.conf with _ for -."""
        self.vici.call("load-conn", {name: _dashed(settings)})

    def secret(self, kind: str, secret: str, *owners: str) -> None:
        """Load a shared secret: `kind` IKE or EAP."""
        self.vici.call("load-shared", {"type": kind, "data": secret, "owners": owners})

    def key(self, pem: bytes, kind: str = "any") -> None:
        """Load a private key."""
        self.vici.call("load-key", {"type": kind, "data": pem})

    def authority(self, certificate: bytes, **settings: Value) -> None:
        """Trust this authority."""
        self.vici.call("load-cert", {"type": "X509", "flag": "CA", "data": certificate})

    def certificate(self, certificate: bytes, flag: str = "NONE") -> None:
        """Know this certificate; `flag` CA: an intermediate one is trusted as well."""
        self.vici.call("load-cert", {"type": "X509", "flag": flag, "data": certificate})

    def forget(self) -> None:
        """No secrets, no certificates."""
        self.vici.call("clear-creds")

    def pool(self, name: str, **settings: Value) -> None:
        """Load an address pool: addrs, dns, subnet."""
        self.vici.call("load-pool", {name: settings})

    # -- what it does ---------------------------------------------------------------------------

    def initiate(self, child: str, ike: str = "") -> None:
        """Bring a Child SA up. Raises CaseFailed with what charon says."""
        wanted = {"child": child, "timeout": str(INITIATE_MS)} | ({"ike": ike} if ike else {})
        try:
            self.vici.call("initiate", wanted)
        except ViciFailed as error:
            raise CaseFailed(f"{error}; its log: {self.complaints()}") from None

    def terminate(self, **which: str) -> None:
        """End SAs: ike, child, ike_id, child_id. Raises CaseFailed."""
        try:
            self.vici.call("terminate", {**_dashed(which), "timeout": str(INITIATE_MS)})
        except ViciFailed as error:
            raise CaseFailed(str(error)) from None

    def rekey(self, **which: str) -> None:
        """Have SAs rekeyed: ike, child, ike_id, child_id, reauth."""
        self.vici.call("rekey", _dashed(which))

    def sas(self) -> dict[str, dict[str, Answer]]:
        """Its IKE SAs by unique id; each with its `name`."""
        found: dict[str, dict[str, Answer]] = {}
        for event in self.vici.stream("list-sas", "list-sa"):
            for name, sa in event.items():
                if isinstance(sa, dict):
                    found[str(sa["uniqueid"])] = {"name": name, **sa}
        return found

    def established(self) -> list[dict[str, Answer]]:
        """Its IKE SAs that are up."""
        return [sa for sa in self.sas().values() if sa["state"] == "ESTABLISHED"]

    def children(self) -> list[dict[str, Answer]]:
        """Its Child SAs that are installed."""
        found: list[dict[str, Answer]] = []
        for sa in self.sas().values():
            children = sa.get("child-sas", {})
            if isinstance(children, dict):
                found += [c for c in children.values() if isinstance(c, dict)]
        return [c for c in found if c["state"] == "INSTALLED"]

    def one_sa(self) -> dict[str, Answer]:
        """Its only IKE SA, once it has exactly one, that is up."""

        def look() -> list[dict[str, Answer]]:
            return list(self.sas().values())

        until(
            lambda: [sa["state"] for sa in look()] == ["ESTABLISHED"],
            f"one IKE SA at charon; there are {[(s['uniqueid'], s['state']) for s in look()]}",
        )
        return look()[0]

    def one_child(self, reqid: str = "") -> dict[str, Answer]:
        """Its only Child SA, once it has exactly one."""
        until(lambda: len(self.children()) == 1, f"one Child SA; its log: {self.complaints()}")
        return self.children()[0]

    # -- what it says ---------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """Its log."""
        file = self.folder / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def says(self, pattern: str) -> str:
        """The first line of its log that has the regular expression, once there is one."""
        found = until(lambda: re.search(pattern, self.log), f"{pattern!r} in charon's log")
        expect(found, pattern)
        assert found is not None
        return found.group()

    def complaints(self) -> str:
        """What in its log may be why something went wrong."""
        words = ("fail", "error", "unable", "no matching", "not ", "received", "deleting", "giving")
        lines = [line[15:] for line in self.log.splitlines() if "[CHD]  " not in line]
        return " / ".join([line for line in lines if any(word in line for word in words)][-8:])

    def esp_keys(self) -> dict[str, EspKeys]:
        """Every ESP SA that it has installed, by SPI in hexadecimal."""
        if self._esp == FAKED:
            return xfrm.esp_keys(self.folder / "xfrm")
        return {keys.spi: keys for block in by_thread(self.log) for keys in logged_keys(block)}


def logged_keys(lines: list[str]) -> Iterator[EspKeys]:
    """The ESP SAs in the lines of one thread: first the keys, by side, then which SA gets them."""
    keys: dict[tuple[str, str], str] = {}
    current: tuple[str, str] | None = None
    direction, initiator = "", False
    for line in lines:
        if (parsed := PARSED.search(line)) is not None:
            initiator = parsed[1] == "response"
        elif (key := KEY.search(line)) is not None:
            current = (key[1], key[2])
            keys[current] = ""
        elif (dump := DUMP.search(line)) is not None and current is not None:
            keys[current] += dump[1].replace(" ", "").lower()
        elif (adding := ADDING.search(line)) is not None:
            direction, current = adding[1], None
        elif (spi := SPI.search(line)) is not None and direction:
            # who began the exchange sends under the initiator's keys (RFC 7296 2.17)
            side = "initiator" if initiator is (direction == "outbound") else "responder"
            encr, integ = keys.get(("encryption", side), ""), keys.get(("integrity", side), "")
            yield EspKeys(spi[1].rjust(8, "0"), encr, integ)
            direction = ""
        elif "[CHD]" in line:
            current = None


def by_thread(log: str) -> list[list[str]]:
    """The lines of each thread, for several write at once."""
    threads: dict[str, list[str]] = {}
    for line in log.splitlines():
        if (thread := re.search(r"(\d\d)\[", line)) is not None:
            threads.setdefault(thread[1], []).append(line)
    return list(threads.values())


def _dashed(settings: Mapping[str, Value]) -> dict[str, Value]:
    return {
        key.replace("_", "-") if key in DASHED else key: (
            _dashed(value) if isinstance(value, Mapping) else value
        )
        for key, value in settings.items()
    }


DASHED = ("ike_id", "child_id")
"""vici's own words have dashes; the names of settings have underscores."""


def _conf(settings: str, esp: str, quiet: bool) -> str:
    level, chd = (-1, -1) if quiet else (1, 4)
    plugins = PLUGINS.format(kernel="kernel-libipsec" if esp == LIBIPSEC else "")
    return f"""charon {{
  load_modular = no
  load = {plugins}
  install_routes = yes
  filelog {{
    log {{
      path = /mnt/log
      time_format = %H:%M:%S
      default = {level}
      chd = {chd}
      flush_line = yes
    }}
  }}
  syslog {{
    daemon {{ default = -1 }}
    auth {{ default = -1 }}
  }}
  plugins {{
    vici {{ socket = unix:///mnt/vici.sock }}
    kernel-libipsec {{
      allow_peer_ts = yes
      fwmark = !0x42
    }}
    resolve {{ file = /mnt/resolv.conf }}
    kernel-netlink {{
      fwmark = !0x42
      xfrm_acq_expires = 3600
    }}
    socket-default {{ fwmark = 0x42 }}
  }}
{settings}
}}
"""
