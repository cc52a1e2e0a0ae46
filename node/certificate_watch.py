"""Warns of the end of the certificates, authorities among them, that this process uses.

Rules: a process uses what its files held when it began, for nothing reads them again; so the watch
is made together with what reads them, and a file that was renewed since ends no warning but has one
say so. Where the file couldn't be read then, what it holds when it first can be counts.
"""

import asyncio
import datetime
import math
from collections.abc import Mapping

import msgspec
from structlog.typing import FilteringBoundLogger

from cluster.conditions import Condition, Conditions
from cluster.seams import Clock, Spawn
from node.certificates import ends_wall_s
from node.sections import GatewayConfig

LOOK_S = 600.0
SOON_S = 14 * 86_400.0
"""How long before its end a certificate is warned of."""


class Watched(msgspec.Struct, frozen=True):
    """A file, and whether it holds authorities rather than a certificate of ours."""

    file: str
    authorities: bool = False


def watched(config: GatewayConfig) -> dict[str, Watched]:
    """What ends and can be renewed, by setting: what etcd, other members and peers are shown, and
    those by whom they are believed.
    """
    found = {
        "store.ca_file": Watched(config.store.ca_file, authorities=True),
        "store.cert_file": Watched(config.store.cert_file),
        "member.ca_file": Watched(config.member.ca_file, authorities=True),
        "member.cert_file": Watched(config.member.cert_file),
        "trust.ca_file": Watched(config.trust.ca_file, authorities=True),
    }
    for number, connection in enumerate(config.connection, 1):
        found[f"connection[{number}].ca_file"] = Watched(connection.ca_file, authorities=True)
    for number, one in enumerate(config.certificate, 1):
        found[f"certificate[{number}].cert_file"] = Watched(one.cert_file)
    return {setting: each for setting, each in found.items() if each.file}


class CertificateWatch:
    """See the module."""

    def __init__(
        self,
        files: Mapping[str, Watched],
        conditions: Conditions,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """`files`: by setting."""
        self._settings: dict[Watched, list[str]] = {}
        for setting, each in files.items():
            self._settings.setdefault(each, []).append(setting)
        self._conditions = conditions
        self._clock = clock
        self._log = log
        self._used: dict[Watched, dict[str, float]] = {}
        """When what is used ends, as `ends_wall_s` has it."""
        for each in self._settings:
            self._read(each)

    def start(self, spawn: Spawn) -> None:
        """Look from now on, where there is something to look at."""
        if self._settings:
            spawn(self._run(), "certificates")

    async def _run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Name those that have ended, or will soon."""
        ended: list[str] = []
        soon: list[str] = []
        now_wall_s = self._clock.wall_s()
        for each, settings in self._settings.items():
            in_file = self._read(each)
            for name, end_s in self._used.get(each, {}).items():
                if end_s - now_wall_s > SOON_S:
                    continue
                who = f" ({name})" if name else ""
                at = datetime.datetime.fromtimestamp(end_s, datetime.UTC)
                ends = f"{'ended' if end_s <= now_wall_s else 'ends'} {at:%Y-%m-%d %H:%M} UTC"
                line = f"{', '.join(settings)} {each.file}{who} {ends}"
                if in_file and in_file.get(name, math.inf) > end_s:
                    line += ", and is renewed, but used only after a restart"
                (ended if end_s <= now_wall_s else soon).append(line)
        self._conditions.put(Condition.CERTIFICATE, "; ".join(ended))
        self._conditions.put(Condition.CERTIFICATE_SOON, "; ".join(soon))

    def _read(self, each: Watched) -> dict[str, float]:
        """When what the file holds now ends; nothing if it can't be read."""
        try:
            ends = ends_wall_s(each.file, authorities=each.authorities)
        except (OSError, ValueError) as error:
            self._log.warning("a certificate can't be read", file=each.file, why=str(error))
            return {}
        self._used.setdefault(each, ends)
        return ends
