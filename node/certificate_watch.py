"""Warns of the end of the certificates that this process uses.

Rules: a process uses what its files held when it began, for nothing reads them again; so the watch
is made together with what reads them, and a file that was renewed since ends no warning but has one
say so. Where the file couldn't be read then, what it holds when it first can be counts.
"""

import asyncio
import datetime
from collections.abc import Mapping

from structlog.typing import FilteringBoundLogger

from cluster.conditions import Condition, Conditions
from cluster.seams import Clock, Spawn
from node.certificates import ends_wall_s
from node.sections import GatewayConfig

LOOK_S = 600.0
SOON_S = 14 * 86_400.0
"""How long before its end a certificate is warned of."""


def watched(config: GatewayConfig) -> dict[str, str]:
    """The certificates that etcd and other members are shown: setting → file."""
    shown = {"store.cert_file": config.store.cert_file, "member.cert_file": config.member.cert_file}
    return {setting: file for setting, file in shown.items() if file}


class CertificateWatch:
    """See the module."""

    def __init__(
        self,
        files: Mapping[str, str],
        conditions: Conditions,
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        """`files`: setting → file."""
        self._settings: dict[str, list[str]] = {}
        for setting, file in files.items():
            self._settings.setdefault(file, []).append(setting)
        self._conditions = conditions
        self._clock = clock
        self._log = log
        self._used_wall_s: dict[str, float] = {}
        """The end of what is used, by file."""
        for file in self._settings:
            self._read(file)

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
        ended, soon = [], []
        for file, settings in self._settings.items():
            in_file_s = self._read(file)
            end_s = self._used_wall_s.get(file)
            if end_s is None:
                continue
            left_s = end_s - self._clock.wall_s()
            at = datetime.datetime.fromtimestamp(end_s, datetime.UTC)
            ends = f"{'ended' if left_s <= 0 else 'ends'} {at:%Y-%m-%d %H:%M} UTC"
            line = f"{', '.join(settings)} {file} {ends}"
            if in_file_s is not None and in_file_s > end_s:
                line += ", and is renewed, but used only after a restart"
            if left_s <= 0:
                ended.append(line)
            elif left_s <= SOON_S:
                soon.append(line)
        self._conditions.put(Condition.CERTIFICATE, "; ".join(ended))
        self._conditions.put(Condition.CERTIFICATE_SOON, "; ".join(soon))

    def _read(self, file: str) -> float | None:
        """When what the file holds now ends; None: it can't be read."""
        try:
            end_s = ends_wall_s(file)
        except (OSError, ValueError, IndexError) as error:
            self._log.warning("a certificate can't be read", file=file, why=str(error))
            return None
        self._used_wall_s.setdefault(file, end_s)
        return end_s
