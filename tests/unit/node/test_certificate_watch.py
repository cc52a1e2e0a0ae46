"""Certificates are named with setting, file and date before and after their end."""

from pathlib import Path

import pytest
import structlog

from cluster.conditions import Conditions
from node.certificate_watch import SOON_S, CertificateWatch, Watched, watched
from node.config import load_gateway
from node.pki import LEAF_DAYS, Authority
from node.sample import Sample, write_sample
from node.seams import OsRng
from tests import pki
from tests.unit.cluster.fakes import HandClock

DAY_S = 86_400.0
RENEWED = ", and is renewed, but used only after a restart"


class Running:
    """A process that has begun to use the files of these settings."""

    def __init__(self, clock: HandClock, **files: Path) -> None:
        """`files`: by setting, with __ for its dot."""
        self.conditions = Conditions(clock)
        named = {
            key.replace("__", "."): Watched(str(file), authorities=key.endswith("__ca_file"))
            for key, file in files.items()
        }
        log = structlog.get_logger()
        self._watch = CertificateWatch(named, self.conditions, clock, log)

    def look(self) -> list[tuple[str, str]]:
        self._watch.look()
        return [(each.condition.value, each.detail) for each in self.conditions.present()]


def authorities(file: Path, clock: HandClock, *lasting: tuple[str, float]) -> None:
    """Such authorities (name, days that they last yet) lie in `file`."""
    now_s = clock.wall_s()
    file.write_bytes(
        b"".join(
            pki.Authority.root(
                name, begins=now_s - 900 * DAY_S, ends=now_s + days_left * DAY_S
            ).own.pem
            for name, days_left in lasting
        )
    )


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
    found = Running(clock, store__cert_file=file).look()
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
    running = Running(clock, member__cert_file=file)
    ((name, detail),) = running.look()
    certificate(file, clock, LEAF_DAYS)
    assert running.look() == [(name, detail + RENEWED)]
    file.unlink()
    assert running.look() == [(name, detail)]
    certificate(file, clock, LEAF_DAYS)
    assert Running(clock, member__cert_file=file).look() == []


def test_what_lies_in_the_file_since_is_not_warned_of(tmp_path: Path) -> None:
    clock = HandClock()
    file = tmp_path / "gw1.crt"
    certificate(file, clock, LEAF_DAYS)
    running = Running(clock, member__cert_file=file)
    certificate(file, clock, 1)
    assert running.look() == []


def test_a_certificate_that_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    clock = HandClock()
    rubbish, empty, late = (tmp_path / name for name in ("rubbish", "empty", "late"))
    rubbish.write_text("rubbish")
    empty.write_text("")
    running = Running(clock, a=tmp_path / "none", b=rubbish, c=empty, d=late)
    assert running.look() == []
    certificate(late, clock, -1)
    ((name, detail),) = running.look()
    assert (name, detail.split()[0]) == ("certificate-expired", "d")


def test_each_is_looked_at(tmp_path: Path) -> None:
    clock = HandClock()
    store, member = tmp_path / "store.crt", tmp_path / "member.crt"
    certificate(store, clock, -1)
    certificate(member, clock, -1)
    ((name, detail),) = Running(clock, store__cert_file=store, member__cert_file=member).look()
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
    ((_, detail),) = Running(clock, store__cert_file=file, member__cert_file=file).look()
    assert detail.startswith(f"store.cert_file, member.cert_file {file} ended ")


def test_each_authority_of_a_file_is_named_by_its_end(tmp_path: Path) -> None:
    clock = HandClock()
    file = tmp_path / "ca.crt"
    authorities(file, clock, ("first", 900), ("second", -1), ("third", 1))
    (ended, soon) = Running(clock, member__ca_file=file).look()
    assert ended[0] == "certificate-expired"
    assert ended[1].startswith(f"member.ca_file {file} (CN=second) ended ")
    assert soon[0] == "certificate-expires-soon"
    assert soon[1].startswith(f"member.ca_file {file} (CN=third) ends ")


@pytest.mark.parametrize("lasting", [(-1, 900), (900, -1)])
def test_an_authority_that_is_followed_by_one_of_its_name_has_not_ended(
    tmp_path: Path, lasting: tuple[float, float]
) -> None:
    clock = HandClock()
    file = tmp_path / "ca.crt"
    authorities(file, clock, *(("root", days_left) for days_left in lasting))
    assert Running(clock, store__ca_file=file).look() == []


@pytest.mark.parametrize("follower", ["root", "another"])
def test_an_authority_that_was_renewed_is_used_only_after_a_restart(
    tmp_path: Path, follower: str
) -> None:
    clock = HandClock()
    file = tmp_path / "ca.crt"
    authorities(file, clock, ("root", -1))
    running = Running(clock, trust__ca_file=file)
    ((name, detail),) = running.look()
    authorities(file, clock, (follower, 900))
    assert running.look() == [(name, detail + RENEWED)]
    file.write_text("rubbish")
    assert running.look() == [(name, detail)]


def test_whatever_a_gateway_shows_or_believes_is_watched(tmp_path: Path) -> None:
    clock = HandClock()
    write_sample(tmp_path, Sample(), OsRng(), clock.wall_s())
    root = pki.Authority.root()
    root.issue(names=["fqdn:vpn.example.com"]).write(tmp_path, "gw")
    (tmp_path / "ca.pem").write_bytes(root.own.pem)
    file = tmp_path / "gw1.toml"
    file.write_text(
        file.read_text()
        + '[trust]\nca_file = "ca.pem"\n'
        + '[[certificate]]\ncert_file = "gw.pem"\nkey_file = "gw.key"\n'
        + '[[connection]]\nname = "a"\nidentity = ["*"]\n'
        + '[[connection]]\nname = "b"\nidentity = ["*"]\nca_file = "ca.pem"\n'
    )
    config = load_gateway(file)
    shown, by = config.store, Watched(config.store.ca_file, authorities=True)
    peers = Watched(str(tmp_path / "ca.pem"), authorities=True)
    assert watched(config) == {
        "store.ca_file": by,
        "store.cert_file": Watched(shown.cert_file),
        "member.ca_file": by,
        "member.cert_file": Watched(shown.cert_file),
        "trust.ca_file": peers,
        "connection[2].ca_file": peers,
        "certificate[1].cert_file": Watched(str(tmp_path / "gw.pem")),
    }
