"""Certificates are named with setting, file and date before and after their end."""

from pathlib import Path

import pytest
import structlog

from cluster.conditions import Conditions
from node.certificate_watch import SOON_S, CertificateWatch
from node.pki import LEAF_DAYS, Authority
from tests.unit.cluster.fakes import HandClock

DAY_S = 86_400.0
RENEWED = ", and is renewed, but used only after a restart"


class Watched:
    """A process that has begun to use the files of these settings."""

    def __init__(self, clock: HandClock, **files: Path) -> None:
        self.conditions = Conditions(clock)
        named = {key.replace("__", "."): str(file) for key, file in files.items()}
        log = structlog.get_logger()
        self._watch = CertificateWatch(named, self.conditions, clock, log)

    def look(self) -> list[tuple[str, str]]:
        self._watch.look()
        return [(each.condition.value, each.detail) for each in self.conditions.present()]


def certificate(file: Path, clock: HandClock, days_left: float) -> None:
    """gw1's, which ends in so many days, lies in `file`."""
    made_s = clock.wall_s() - (LEAF_DAYS - days_left) * DAY_S
    file.write_bytes(Authority("sample", made_s).member("gw1").certificate)


@pytest.mark.parametrize(
    ("days_left", "named"),
    [
        (SOON_S / DAY_S + 1, None),
        (SOON_S / DAY_S - 1, "certificate-expires-soon"),
        (-1, "certificate-expired"),
    ],
)
def test_a_certificate_is_named_by_its_end(
    tmp_path: Path, days_left: float, named: str | None
) -> None:
    clock = HandClock()
    file = tmp_path / "gw1.crt"
    certificate(file, clock, days_left)
    found = Watched(clock, store__cert_file=file).look()
    assert [name for name, _ in found] == ([named] if named else [])
    for _, detail in found:
        assert detail.startswith(f"store.cert_file {file} end")
        assert detail.endswith(" UTC")


@pytest.mark.parametrize("days_left", [-1, 1])
def test_a_file_that_was_renewed_is_used_only_after_a_restart(
    tmp_path: Path, days_left: float
) -> None:
    clock = HandClock()
    file = tmp_path / "gw1.crt"
    certificate(file, clock, days_left)
    running = Watched(clock, member__cert_file=file)
    ((name, detail),) = running.look()
    certificate(file, clock, LEAF_DAYS)
    assert running.look() == [(name, detail + RENEWED)]
    file.unlink()
    assert running.look() == [(name, detail)]
    certificate(file, clock, LEAF_DAYS)
    assert Watched(clock, member__cert_file=file).look() == []


def test_what_lies_in_the_file_since_is_not_warned_of(tmp_path: Path) -> None:
    clock = HandClock()
    file = tmp_path / "gw1.crt"
    certificate(file, clock, LEAF_DAYS)
    running = Watched(clock, member__cert_file=file)
    certificate(file, clock, 1)
    assert running.look() == []


def test_a_certificate_that_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    clock = HandClock()
    rubbish, empty, late = (tmp_path / name for name in ("rubbish", "empty", "late"))
    rubbish.write_text("rubbish")
    empty.write_text("")
    running = Watched(clock, a=tmp_path / "none", b=rubbish, c=empty, d=late)
    assert running.look() == []
    certificate(late, clock, -1)
    ((name, detail),) = running.look()
    assert (name, detail.split()[0]) == ("certificate-expired", "d")


def test_each_is_looked_at(tmp_path: Path) -> None:
    clock = HandClock()
    store, member = tmp_path / "store.crt", tmp_path / "member.crt"
    certificate(store, clock, -1)
    certificate(member, clock, -1)
    ((name, detail),) = Watched(clock, store__cert_file=store, member__cert_file=member).look()
    assert name == "certificate-expired"
    lines = detail.split("; ")
    assert [line.split()[:2] for line in lines] == [
        ["store.cert_file", str(store)],
        ["member.cert_file", str(member)],
    ]


def test_one_file_for_two_settings_is_named_once(tmp_path: Path) -> None:
    clock = HandClock()
    file = tmp_path / "gw1.crt"
    certificate(file, clock, -1)
    ((_, detail),) = Watched(clock, store__cert_file=file, member__cert_file=file).look()
    assert detail.startswith(f"store.cert_file, member.cert_file {file} ended ")
