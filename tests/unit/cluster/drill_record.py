"""A made-up record of a drill: who did what when, as gateways, clients and drill write it."""

import msgspec

from cluster.drill.events import Event
from cluster.drill.plan import Drill, decode_drill

FAULT_T = 110.0
END_T = 120.0
INTERVAL_S = 0.2

DRILL_TOML = """
name = "made-up"
title = "Made up"
[topology]
gateways = 3
[load]
clients = {clients}
liveness_interval_s = 0.2
[expect]
promises = {promises}
[[fault]]
{fault}
"""
KILL_GW2 = 'action = "kill"\ntarget = "gw2"\nat_s = 5'


def drill(clients: int, promises: str = "[1, 3, 5, 6, 8]", fault: str = KILL_GW2) -> Drill:
    """A plan for `clients`."""
    text = DRILL_TOML.format(clients=clients, promises=promises, fault=fault)
    return decode_drill(text, "made-up.toml")


class Record:
    """Collects events; gateways gw1 to gw3 are at 127.0.0.1:5001 to 5003."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._spi = 0
        for n in (1, 2, 3):
            name = f"gw{n}"
            self.add("drill", 99.0, "topology", member=name, address=f"127.0.0.1:500{n}")
            self.add(name, 99.5, "started", incarnation="00")

    def add(self, who: str, t: float, kind: str, **fields: object) -> None:
        """One event."""
        self.events.append(msgspec.convert({"t": t, "who": who, "kind": kind} | fields, Event))

    def address(self, gateway: str) -> str:
        """Where `gateway` speaks IKE."""
        return f"127.0.0.1:500{gateway[-1]}"

    def session(
        self,
        who: str,
        gateway: str,
        t: float,
        *,
        how: str = "full",
        generation: int = 1,
        ticket: bool = True,
        spi: str = "",
    ) -> str:
        """An IKE SA, as client and gateway record it; its responder SPI."""
        self._spi += 1
        spi = spi or f"{self._spi:016x}"
        at = self.address(gateway)
        self.add(who, t - 0.02, "connecting", gateway=at, how=how)
        self.add(
            gateway,
            t - 0.005,
            "sa_established",
            spi=spi,
            chain=f"chain-{who}",
            generation=generation,
            how=how,
            identity=who,
        )
        self.add(who, t, "established", gateway=at, how=how, spi_i="aa", spi_r=spi)
        if ticket:
            self.add(who, t + 0.001, "ticket", lifetime_s=3600)
        return spi

    def answers(self, who: str, since: float, until: float, every: float = INTERVAL_S) -> None:
        """Answered liveness from `since` to `until`."""
        for n in range(int((until - since) / every + 1e-9) + 1):
            self.add(who, since + n * every, "answered")

    def fault(self, action: str = "kill", target: str = "gw2", t: float = FAULT_T) -> None:
        """Something that went wrong."""
        self.add("drill", t, "fault", action=action, target=target)

    def noticed(self, target: str = "gw2", t: float = FAULT_T) -> None:
        """The other gateways suspect `target`, then declare it dead."""
        for n in (1, 2, 3):
            if f"gw{n}" != target:
                self.add(f"gw{n}", t + 1.0 + n / 10, "suspected", member=target)
                self.add(f"gw{n}", t + 4.0 + n / 10, "declared_dead", member=target)

    def end(self, *spis: str, missing: tuple[str, ...] = ()) -> None:
        """Observation ends; the sessions of `spis` are read back, those of `missing` not found."""
        self.add("drill", END_T, "phase", name="observed")
        for spi in spis:
            self.add("drill", END_T + 0.5, "readback", spi_r=spi, found=True)
        for spi in missing:
            self.add("drill", END_T + 0.5, "readback", spi_r=spi, found=False)


def undisturbed(record: Record, who: str, gateway: str) -> str:
    """A client whom nothing happens to; its SPI."""
    spi = record.session(who, gateway, 101.0)
    record.answers(who, 101.2, END_T)
    return spi


def struck(  # one keyword per thing that may go differently
    record: Record,
    who: str,
    *,
    gateway: str = "gw2",
    to: str = "gw3",
    after_s: float = 1.5,
    how: str = "resumed",
    ticket: bool = True,
    generation: int = 2,
    fault_t: float = FAULT_T,
) -> str:
    """A client of the killed gateway that is established again `after_s` after; its new SPI.

    The last answer comes 0.1 s before the fault, the first one 0.1 s after it is back.
    """
    record.session(who, gateway, 101.0, ticket=ticket)
    record.answers(who, fault_t - 8.1, fault_t - 0.1)
    record.add(who, fault_t + after_s - 0.1, "unanswered", gateway=record.address(gateway))
    spi = record.session(who, to, fault_t + after_s, how=how, generation=generation)
    record.answers(who, fault_t + after_s + 0.1, END_T)
    return spi


def good_record() -> Record:
    """Four clients, two of them at the gateway that is killed; both resume."""
    record = Record()
    spis = [undisturbed(record, "c0001", "gw1"), undisturbed(record, "c0002", "gw3")]
    record.fault()
    record.noticed()
    spis += [struck(record, "c0003", after_s=1.5), struck(record, "c0004", to="gw1", after_s=2.5)]
    record.end(*spis)
    return record
