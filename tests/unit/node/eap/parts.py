"""What the tests of EAP share: randomness from a seed, users, certificates, and a whole talk."""

import random
import time

from cryptography import x509

from node.eap.method import Conversation, Round
from node.eap.mschapv2.crypto import nt_password_hash
from node.eap.tls.engine import TlsCredentials
from node.eap.tls.server import Vouched
from node.eap.users import User, Users
from tests import pki

USERS = Users(
    (
        User("User", nt_password_hash("clientPass")),
        User("carol@example.com", nt_password_hash("Grüße, Straße")),
    )
)


class SeededRng:
    """The same octets in every run."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def bytes(self, n: int) -> bytes:
        """`n` octets."""
        return self._random.randbytes(n)


class FixedRng:
    """Exactly these octets, once each."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = list(parts)

    def bytes(self, n: int) -> bytes:
        """The next part, which must be `n` octets long."""
        part = self._parts.pop(0)
        assert len(part) == n
        return part


class HandClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def boot_s(self) -> float:
        """Seconds since boot."""
        return self.now_s

    def wall_s(self) -> float:
        """Seconds since 1970."""
        return self.now_s


class Authority:
    """Issues certificates that are valid at this very moment, for TLS looks at its own clock."""

    def __init__(self, subject: str = "test authority", made: pki.Authority | None = None) -> None:
        self._pki = made or pki.Authority.root(subject, **_when(30))

    def below(self, subject: str) -> "Authority":
        """One that this one has made an authority."""
        return Authority(subject, self._pki.authority(subject, **_when(30)))

    @property
    def certificate(self) -> x509.Certificate:
        """Its own."""
        return self._pki.own.parsed

    @property
    def pem(self) -> bytes:
        """Its own."""
        return self._pki.own.pem

    def issue(
        self, subject: str, *names: str, days: int = 30, padding: int = 0, **changed: object
    ) -> pki.Issued:
        """A certificate for `names` (`fqdn:…`, `rfc822:…`), so many octets longer than needed."""
        longer = [pki.padding(padding)] if padding else []
        return self._pki.issue(subject, names=names, extensions=longer, **_when(days), **changed)

    def credentials(self, issued: pki.Issued, trusts: "Authority | None" = None) -> TlsCredentials:
        """With which their holder trusts `trusts`, or this authority."""
        return TlsCredentials((issued.parsed,), issued.key, ((trusts or self).certificate,))


def _when(days: int) -> dict[str, float]:
    now_s = time.time()
    return {"begins": now_s - 60 * pki.DAY_S, "ends": now_s + days * pki.DAY_S}


async def trusted(_chain: tuple[x509.Certificate, ...]) -> Vouched:
    """Where TLS alone decides."""
    return Vouched()


async def talk(server: Conversation, peer: Conversation) -> tuple[Round, Round, int]:
    """Both sides' last rounds, and the number of packets that the server sent."""
    asked = await server.answer(b"")
    sent = 1
    while True:
        answered = await peer.answer(asked.packet) if asked.packet else Round()
        if asked.result is not None or answered.result is not None:
            return asked, answered, sent
        asked = await server.answer(answered.packet)
        sent += 1
