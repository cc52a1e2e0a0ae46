"""A drill file (TOML) as a strict value: topology, load, faults, limits, and what is expected.

Rules: nothing is done here; `node.drill` carries a plan out against real processes. An unknown
key, a wrong type or an impossible plan is a `ValueError` of one line that names the key, what was
given and what would be right.
"""

import enum
import re

import msgspec

from cluster.errors import UNREADABLE

NUMBER_MAX = 1e300
GATEWAYS_MAX = 16
ETCD_MEMBERS_MAX = 5
CLIENTS_MAX = 9999
FAULTS_MAX = 64
SHARDS_MAX = 4096

Scalar = bool | int | float | str | list[str]
Sections = dict[str, dict[str, Scalar]]
"""Sections of a gateway's configuration file and the keys to be set in them."""


class Action(enum.Enum):
    """What a fault does; all but the last three act on a gateway process."""

    KILL = "kill"
    STOP = "stop"
    CONT = "cont"
    TERM = "term"
    START = "start"
    REPLACE_RING = "replace-ring"
    STOP_STORE = "stop-store"
    START_STORE = "start-store"


TAKES_SERVICE = frozenset({Action.KILL, Action.STOP, Action.TERM})
"""A gateway so treated leaves its sessions without service, for a while or for good."""

ON_A_GATEWAY = TAKES_SERVICE | {Action.CONT, Action.START}

BUSIEST = "busiest"
"""Target: the running gateway that holds the most sessions at that moment."""
ANY = "any"
"""Target: the first running gateway by name."""
LAST = "last"
"""Target: the gateway that the fault before acted on."""


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of what, and what their configuration says beyond the sample's."""

    gateways: int = 3
    etcd_members: int = 1
    shards: int = 64
    every: Sections = {}
    """Set in every gateway's configuration: section → key → value."""
    only: dict[str, Sections] = {}
    """Set in the configuration of one gateway: name → section → key → value."""

    def names(self) -> tuple[str, ...]:
        """The gateways' names: gw1, gw2, …; no more than there may be."""
        return tuple(f"gw{n}" for n in range(1, min(self.gateways, GATEWAYS_MAX) + 1))


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The clients and how patient they are."""

    clients: int = 300
    liveness_interval_s: float = 0.2
    retransmit_initial_s: float = 0.3
    retransmit_factor: float = 1.5
    retransmit_tries: int = 3
    connect_parallel: int = 32
    """Handshakes in flight at once while the load is built up."""


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that goes wrong. Faults happen in the file's order, each at a time or after an
    event.
    """

    action: Action
    target: str = ""
    """A gateway's name, `busiest`, `any` or `last`; empty for the ring and the store."""
    at_s: float | None = None
    """Seconds since every client was connected."""
    after: str = ""
    """Kind of a recorded event (such as `declared_dead`) that must come after the fault before."""
    delay_s: float = 0.0
    """Waited in addition once the event has come."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long each part may take before the drill goes on or gives up."""

    start_s: float = 30.0
    """Store and gateways up, every shard owned; longer: could not run."""
    connect_s: float = 30.0
    """Every client established, with a ticket and an answered liveness; longer: could not run."""
    fault_s: float = 20.0
    """An awaited event comes; longer: could not run."""
    recover_s: float = 12.0
    """After the last fault: how long lost service may take to come back; longer: the verdict says
    lost.
    """
    settle_s: float = 1.0
    """Watched on, once all are back."""


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes the drill pass, beside that no promise may be seen broken."""

    promises: tuple[int, ...] = (1, 3, 5, 6, 8)
    """Numbers of the promises that this drill must have put to the test."""
    lost_max: int = 0
    rehandshaked_max: int = 0
    without_service_max_s: float | None = None


class Drill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole drill file."""

    name: str
    title: str
    fault: tuple[Fault, ...]
    description: str = ""
    topology: Topology = Topology()
    load: Load = Load()
    limits: Limits = Limits()
    expect: Expect = Expect()


def decode_drill(text: str, source: str) -> Drill:
    """The drill in `text`; `source` names it in errors. Raises ValueError (one line)."""
    try:
        drill = msgspec.toml.decode(text, type=Drill)
    except msgspec.ValidationError as problem:
        raise ValueError(f"{source}: {_where(str(problem))}") from None
    except (*UNREADABLE, ValueError) as problem:
        raise ValueError(f"{source}: not TOML: {problem}") from None
    for complaint in (*_ranges(drill), *_faults(drill)):
        raise ValueError(f"{source}: {complaint}")
    return drill


def _where(message: str) -> str:
    """msgspec's message with the key in front, as in a TOML file."""
    found = re.fullmatch(r"(.*) - at `\$\.?(.*)`", message)
    key, said = (found[2], found[1]) if found else ("", message)
    for pattern, problem in (
        (r"Object contains unknown field `(.*)`", "unknown key → see deploy/drills/README.md"),
        (r"Object missing required field `(.*)`", "missing → a drill needs it"),
    ):
        if named := re.fullmatch(pattern, said):
            return f"{key}.{named[1]}: {problem}".lstrip(".")
    return f"{key}: {said}" if key else said


def _number(given: float) -> str:
    """As `:g` has it; a whole number that no float can hold, as a large one."""
    return f"{max(-NUMBER_MAX, min(given, NUMBER_MAX)):g}"


def _ranges(drill: Drill) -> list[str]:
    topology, load, limits = drill.topology, drill.load, drill.limits
    checks: list[tuple[str, float, float, float]] = [
        ("topology.gateways", topology.gateways, 1, GATEWAYS_MAX),
        ("topology.etcd_members", topology.etcd_members, 1, ETCD_MEMBERS_MAX),
        ("topology.shards", topology.shards, 1, SHARDS_MAX),
        ("load.clients", load.clients, 1, CLIENTS_MAX),
        ("load.liveness_interval_s", load.liveness_interval_s, 0.01, 60),
        ("load.retransmit_initial_s", load.retransmit_initial_s, 0.01, 60),
        ("load.retransmit_factor", load.retransmit_factor, 1, 4),
        ("load.retransmit_tries", load.retransmit_tries, 0, 20),
        ("load.connect_parallel", load.connect_parallel, 1, CLIENTS_MAX),
        ("number of [[fault]]", len(drill.fault), 1, FAULTS_MAX),
        ("limits.start_s", limits.start_s, 1, 600),
        ("limits.connect_s", limits.connect_s, 1, 600),
        ("limits.fault_s", limits.fault_s, 0.1, 600),
        ("limits.recover_s", limits.recover_s, 0.1, 600),
        ("limits.settle_s", limits.settle_s, 0, 600),
    ]
    problems = [
        f"{key}: {_number(given)} → {low:g} to {high:g}"
        for key, given, low, high in checks
        if not low <= given <= high
    ]
    if topology.shards & (topology.shards - 1):
        problems.append(f"topology.shards: {topology.shards} → a power of two")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", drill.name):
        problems.append(f"name: {drill.name!r} → small letters, digits and '-'")
    problems += [
        f"topology.only.{name}: no such gateway → one of {', '.join(topology.names())}"
        for name in topology.only
        if name not in topology.names()
    ]
    problems += [
        f"expect.promises: {number} → 1 to 8"
        for number in drill.expect.promises
        if not 1 <= number <= 8
    ]
    return problems


def _faults(drill: Drill) -> list[str]:
    problems: list[str] = []
    known = (*drill.topology.names(), BUSIEST, ANY, LAST)
    acted = False
    for n, fault in enumerate(drill.fault):
        here, action = f"fault[{n}]", fault.action.value
        if (fault.at_s is None) == (not fault.after):
            problems.append(f"{here}: either at_s or after → exactly one of them")
        if (fault.at_s or 0) < 0 or fault.delay_s < 0:
            problems.append(f"{here}: a negative time → 0 or more")
        if fault.action not in ON_A_GATEWAY:
            if fault.target:
                problems.append(f"{here}.target: {fault.target!r} → none for {action}")
            continue
        if fault.target not in known:
            problems.append(f"{here}.target: {fault.target!r} → one of {', '.join(known)}")
        elif fault.target == LAST and not acted:
            problems.append(f"{here}.target: 'last' → a fault on a gateway must come before it")
        elif fault.action in (Action.CONT, Action.START) and fault.target in (BUSIEST, ANY):
            problems.append(f"{here}.target: {fault.target!r} → a name or 'last' for {action}")
        acted = True
    store = [fault.action for fault in drill.fault if "store" in fault.action.value]
    if store != [Action.STOP_STORE, Action.START_STORE] * (len(store) // 2):
        problems.append("fault: stop-store and start-store → in turns, the store up at the end")
    return problems
