"""Certificates are named with setting, file and date before and after their end."""

from pathlib import Path

import pytest
import structlog

from cluster.layout import Keys
from cluster.store_memory import MemoryStore
from node.pki import LEAF_DAYS, Authority
from node.rpc import NoLink
from node.store_way import CERTIFICATE_SOON_S, StoreWay, WaySeams
from tests.unit.cluster.fakes import HandClock, SeededRng

DAY_S = 86_400.0


def way(clock: HandClock) -> StoreWay:
    seams = WaySeams(
        MemoryStore(clock), clock, SeededRng(1), lambda _coro, _name: None, NoLink(),
        structlog.get_logger(),
    )  # type: ignore[arg-type]  # fmt: skip
    return StoreWay(seams, Keys("sample"), "gw1", "00" * 16, None)


def certificate(file: Path, clock: HandClock, days_left: float) -> None:
    """gw1's, which ends in so many days, lies in `file`."""
    made_s = clock.wall_s() - (LEAF_DAYS - days_left) * DAY_S
    file.write_bytes(Authority("sample", made_s).member("gw1").certificate)


@pytest.mark.parametrize(
    ("days_left", "named"),
    [
        (CERTIFICATE_SOON_S / DAY_S + 1, None),
        (CERTIFICATE_SOON_S / DAY_S - 1, "certificate-expires-soon"),
        (-1, "certificate-expired"),
    ],
)
def test_a_certificate_is_named_by_its_end(
    tmp_path: Path, days_left: float, named: str | None
) -> None:
    clock = HandClock()
    file = tmp_path / "gw1.crt"
    certificate(file, clock, days_left)
    store_way = way(clock)
    store_way.look_at_certificates({"store.cert_file": str(file)})
    found = store_way.condition_infos()
    assert [each.name for each in found] == ([named] if named else [])
    for each in found:
        assert f"store.cert_file {file} " in each.detail
        assert "UTC" in each.detail
        assert each.fix


def test_a_renewed_certificate_is_named_no_more(tmp_path: Path) -> None:
    clock = HandClock()
    file = tmp_path / "gw1.crt"
    store_way = way(clock)
    for days_left in (LEAF_DAYS - 900, LEAF_DAYS):
        certificate(file, clock, days_left)
        store_way.look_at_certificates({"store.cert_file": str(file)})
    assert store_way.condition_infos() == ()


def test_a_certificate_that_cannot_be_read_ends_nothing(tmp_path: Path) -> None:
    store_way = way(HandClock())
    store_way.look_at_certificates({"store.cert_file": str(tmp_path / "none")})
    (tmp_path / "rubbish").write_text("rubbish")
    store_way.look_at_certificates({"store.cert_file": str(tmp_path / "rubbish")})
    assert store_way.condition_infos() == ()


def test_the_certificate_for_the_other_members_is_looked_at_too(tmp_path: Path) -> None:
    clock = HandClock()
    shown = {key: str(tmp_path / key) for key in ("store.cert_file", "member.cert_file")}
    certificate(tmp_path / "store.cert_file", clock, LEAF_DAYS)
    certificate(tmp_path / "member.cert_file", clock, -1)
    store_way = way(clock)
    store_way.look_at_certificates(shown)
    (found,) = store_way.condition_infos()
    assert found.name == "certificate-expired"
    assert found.detail.startswith(f"member.cert_file {shown['member.cert_file']} ended ")
    certificate(tmp_path / "store.cert_file", clock, -1)
    store_way.look_at_certificates(shown)
    (found,) = store_way.condition_infos()
    assert [each.split()[0] for each in found.detail.split("; ")] == list(shown)
    (tmp_path / "member.cert_file").unlink()  # which doesn't renew it
    store_way.look_at_certificates(shown)
    assert store_way.condition_infos() == (found,)


def test_one_file_for_both_is_named_once_with_both_settings(tmp_path: Path) -> None:
    clock = HandClock()
    file = tmp_path / "gw1.crt"
    certificate(file, clock, -1)
    store_way = way(clock)
    store_way.look_at_certificates({"store.cert_file": str(file), "member.cert_file": str(file)})
    (found,) = store_way.condition_infos()
    assert found.detail.startswith(f"store.cert_file, member.cert_file {file} ended ")


def test_a_certificate_for_the_other_members_alone_is_watched(tmp_path: Path) -> None:
    clock = HandClock()
    file = tmp_path / "gw1.crt"
    certificate(file, clock, -1)
    store_way = way(clock)
    store_way.look_at_certificates({"store.cert_file": "", "member.cert_file": str(file)})
    (found,) = store_way.condition_infos()
    assert found.detail.startswith(f"member.cert_file {file} ended ")
