"""A play: programs that are started once, and the rows of the matrix that are tried on them.

Rules: a play announces its rows before it runs. A row that fails is reported and the next one is
tried; what the whole play needs and can't have makes all its rows `could not run`. At the end of
each play, whatever it was about, the keys of Child SAs and the captured datagrams are looked at:
that is its last row.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.interop.result import COULD_NOT_RUN, FAILED, OK, Results, Row
from tests.interop.roots import BOOKWORM, LIBRESWAN, TRIXIE, Debian
from tests.interop.stage import Stage
from tests.interop.vici import ViciFailed
from tests.interop.world import CaseFailed, CouldNotRun

CHARONS = (BOOKWORM, TRIXIE)
PLUTOS = (LIBRESWAN,)
NAMES = {BOOKWORM.name: "strongSwan", TRIXIE.name: "strongSwan", LIBRESWAN.name: "libreswan"}

CHARON_CLIENT = "strongSwan is our gateway's client"
CHARON_GATEWAY = "our client is strongSwan's"
PLUTO_CLIENT = "libreswan is our gateway's client"
PLUTO_GATEWAY = "our client is libreswan's"
PARTS = (CHARON_CLIENT, CHARON_GATEWAY, PLUTO_CLIENT, PLUTO_GATEWAY)


class Trial:
    """One play with one peer, under way."""

    def __init__(self, play: "Play", stage: Stage, peer: str, results: Results) -> None:
        self._play, self._peer, self._results = play, peer, results
        self.stage = stage

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """What is tried for one row. A failure is reported and goes no further."""
        began_s = time.monotonic()
        outcome, why = OK, ""
        try:
            yield
        except CouldNotRun as error:
            outcome, why = COULD_NOT_RUN, str(error)
        except (CaseFailed, ViciFailed, OSError, AssertionError) as error:
            outcome, why = FAILED, f"{type(error).__name__}: {error}"
        spent_s = round(time.monotonic() - began_s, 2)
        row = Row(self._play.part, name, self._peer, outcome, why, spent_s)
        self._results.report(row)


class Play(NamedTuple):
    """See the module."""

    part: str
    name: str
    peers: tuple[Debian, ...]
    rows: tuple[str, ...]
    act: Callable[[Trial], None]

    @property
    def last_row(self) -> str:
        """The row of what holds at the end of every play."""
        return f"{self.name}: keys agree; tshark and scapy read us"

    @property
    def all_rows(self) -> tuple[str, ...]:
        """Every row it announces."""
        return (*self.rows, self.last_row)


def peer_name(peer: Debian) -> str:
    """Program and version, such as `strongSwan 6.0.1`."""
    return f"{NAMES[peer.name]} {peer.version}"


def perform(play: Play, peer: Debian, folder: Path, etcd: Path, results: Results) -> None:
    """Run a play against a peer; everything it started has ended when this returns."""
    named = peer_name(peer)
    stage = Stage(folder, peer, etcd)
    trial = Trial(play, stage, named, results)
    try:
        play.act(trial)
        stage.world.quiesce()
        with trial.row(play.last_row):
            stage.check()
    except (CaseFailed, CouldNotRun, ViciFailed, OSError, StopIteration) as error:
        why = f"{type(error).__name__}: {error}"
        results.could_not_run(play.part, play.all_rows, named, why)
    finally:
        stage.close()


REGISTERED: list[Play] = []


def play(
    part: str, name: str, peers: tuple[Debian, ...], *rows: str
) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Registers a function as a play."""

    def register(act: Callable[[Trial], None]) -> Callable[[Trial], None]:
        REGISTERED.append(Play(part, name, peers, rows, act))
        return act

    return register
