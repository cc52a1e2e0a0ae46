"""[[pool]] tables: each mistake is one line, and what is right becomes pools of the parts."""

from pathlib import Path

import pytest

from node.config import load_gateway
from node.pools import cluster_pools, core_pools
from tests.unit.node.test_config import made, problems

__all__ = ["made"]

METRICS = "[metrics]"


def pool(addresses: str, more: str = "", name: str = "a") -> str:
    return f'[[pool]]\nname = "{name}"\naddresses = "{addresses}"\n{more}\n'


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        (pool("10.0.0.1/8"), 'pool[1].addresses: "10.0.0.1/8" → a network such as'),
        (pool("10.0.0.0/8", 'dns = ["x"]'), 'pool[1].dns: "x" → an address such as 10.'),
        (pool("10.0.0.0/8", 'subnets = ["10.1.1.1/8"]'), 'pool[1].subnets: "10.1.1.1/8" → a net'),
        (pool("10.0.0.0/8", 'domains = ["a b"]'), 'pool[1].domains: ["a b"] → a list of domains'),
        (pool("10.0.0.0/8") + pool("10.9.0.5-10.9.0.9"), 'pool[2].name: "a" → a name that no oth'),
        (
            pool("10.0.0.0/8") + pool("10.9.0.5-10.9.0.9"),
            'pool[2].addresses: "10.9.0.5-10.9.0.9" → addresses that pool a doesn\'t have',
        ),
        (
            '[[connection]]\nname = "c"\nidentity = ["*"]\npools = ["z"]\n',
            'connection[1].pools: "z" → the name of a [[pool]] table of this file',
        ),
        (
            '[[connection]]\nname = "c"\nidentity = ["*"]\npools = ["a"]\nmode = "transport"\n'
            + pool("10.0.0.0/8"),
            'connection[1].mode: "transport" → "tunnel" where there are pools',
        ),
    ],
)
def test_a_mistake_is_one_line(made: Path, tables: str, line: str) -> None:
    found = problems(made, METRICS, tables + METRICS)
    assert any(one.startswith(f"changed.toml: {line}") for one in found), found


def test_transport_mode_needs_no_internal_addresses(made: Path) -> None:
    both = '[client]\nmode = "transport"\nrequest_addresses = [4]\n'
    (line,) = problems(made, "[client]\n", both, "client.toml")
    right = '"tunnel" where there are request_addresses: it is for the addresses of the tunnel'
    assert line == f'changed.toml: client.mode: "transport" → {right}'


def test_the_parts_have_the_same_pools(made: Path) -> None:
    text = (made / "gw1.toml").read_text()
    tables = pool("10.9.0.0/24", 'dns = ["10.0.0.53"]\nsubnets = ["10.0.0.0/8"]')
    tables += pool("fd00::/64", name="b")
    file = made / "with-pools.toml"
    file.write_text(text.replace(METRICS, tables + METRICS))
    config = load_gateway(file)
    assert [(p.name, p.size) for p in cluster_pools(config.pool)] == [("a", 254), ("b", 1 << 20)]
    six, four = core_pools(config.pool, ("b", "a"))
    assert (six.name, six.version, four.name, four.version) == ("b", 6, "a", 4)
    assert list(map(str, (*four.dns, *four.subnets))) == ["10.0.0.53", "10.0.0.0/8"]
