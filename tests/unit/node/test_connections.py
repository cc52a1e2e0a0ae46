"""[[connection]] tables: what may stand in them, and what the core gets of it."""

from pathlib import Path

import pytest

from node.config import CONNECTIONS_MAX, load_gateway
from node.sample import Sample, write_sample
from node.seams import OsClock, OsRng
from node.settings import endpoint_settings
from node.toml_strict import ConfigError
from proto.ike.auth import ResumeForm
from proto.ike.connection import DEFAULT
from proto.ike.selectors import parse_selector


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, Sample(), OsRng(), OsClock().wall_s())
    return folder


def problems(made: Path, by: str) -> list[str]:
    """What is said of the sample with these tables in it."""
    changed = made / "changed.toml"
    changed.write_text((made / "gw1.toml").read_text().replace("[metrics]", by))
    with pytest.raises(ConfigError) as caught:
        load_gateway(changed)
    return [line.replace(f"{made}/", "") for line in caught.value.problems]


GOLDEN = [
    (
        '[[connection]]\nname = "a"\nidentity = ["*", "al*ce"]\n[metrics]',
        'connection[1].identity: "al*ce" → fqdn:NAME, rfc822:USER@DOMAIN, ipv4:ADDRESS, ipv6:AD',
    ),
    (
        '[[connection]]\nname = "a"\nidentity = []\n[metrics]',
        'connection[1].identity: [] → a list of identities, such as ["rfc822:*@example.com"]',
    ),
    (
        '[[connection]]\nname = "a"\nidentity = ["*"]\n' * 2 + "[metrics]",
        'connection[2].name: "a" → a name once',
    ),
    (
        '[[connection]]\nname = "a"\nidentity = ["*"]\nlocal_identity = "me"\n[metrics]',
        'connection[1].local_identity: "me" → fqdn:NAME',
    ),
    (
        '[[connection]]\nname = "a"\nidentity = ["*"]\nremote_ts = ["10.0.0.1/8"]\n[metrics]',
        'connection[1].remote_ts: "10.0.0.1/8" → a network such as 10.0.0.0/8',
    ),
    (
        '[[connection]]\nidentity = ["*"]\nnane = "a"\n[metrics]',
        "connection[1].nane: unknown key → did you mean name?",
    ),
]


@pytest.mark.parametrize(("by", "said"), GOLDEN)
def test_each_mistake_is_one_line(made: Path, by: str, said: str) -> None:
    line, *_ = problems(made, by)
    assert line.startswith(f"changed.toml: {said}")


CONNECTIONS = """
[[connection]]
name = "partners"
identity = ["fqdn:*.partner.example", "ipv4:192.0.2.7"]
local_identity = "fqdn:partners.example.com"
resume_auth = "rfc"
remote_ts = ["10.9.0.0/16"]

[metrics]"""


def test_a_connection_has_what_its_table_says_and_else_what_ike_says(made: Path) -> None:
    changed = made / "connections.toml"
    changed.write_text((made / "gw1.toml").read_text().replace("[metrics]", CONNECTIONS))
    settings = endpoint_settings(load_gateway(changed), 0)
    partners, everybody = settings.connections
    assert (partners.name, everybody.name) == ("partners", DEFAULT)
    assert partners.local_id.data == b"partners.example.com"
    assert partners.resume_forms == (ResumeForm.RFC,)
    assert partners.remote_ts == (parse_selector("10.9.0.0/16"),)
    assert partners.local_ts == everybody.local_ts == settings.local_ts
    fitting = ("fqdn:a.partner.example", "ipv4:192.0.2.7", "fqdn:partner.example", "ipv4:192.0.2.8")
    assert [partners.fits(text) for text in fitting] == [True, True, False, False]
    assert everybody.fits("fqdn:partner.example")


def test_connections_are_no_more_than_may_be(made: Path) -> None:
    row = '[[connection]]\nname = "c%d"\nidentity = ["*"]\n'
    rows = "".join(row % n for n in range(CONNECTIONS_MAX + 1))
    (line,) = problems(made, rows + "[metrics]")
    assert line == "changed.toml: connection: 257 tables → at most 256 [[connection]]"
