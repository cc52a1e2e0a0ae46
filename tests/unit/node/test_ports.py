"""Which ports there are, from what a configuration says."""

import pytest

from node.ports import gateways, listen
from node.sections import ClientSection, IkeConfig
from node.udp import Listen


@pytest.mark.parametrize(
    ("own", "nat", "expected"),
    [
        (("192.0.2.1:500",), (), Listen((("192.0.2.1", 500),), (("192.0.2.1", 4500),))),
        (("[::1]:500", "192.0.2.1:5001"), (),
         Listen((("::1", 500), ("192.0.2.1", 5001)), (("::1", 4500),))),
        (("192.0.2.1:500",), ("192.0.2.1:5500",),
         Listen((("192.0.2.1", 500),), (("192.0.2.1", 5500),))),
        (("192.0.2.1:5001",), (), Listen((("192.0.2.1", 5001),))),
    ],
)  # fmt: skip
def test_port_4500_stands_beside_port_500(
    own: tuple[str, ...], nat: tuple[str, ...], expected: Listen
) -> None:
    assert listen(IkeConfig(own, "fqdn:a", "psk", listen_nat=nat)) == expected


def test_a_client_finds_it_likewise() -> None:
    section = ClientSection("fqdn:a", "fqdn:b", ("192.0.2.1:500", "192.0.2.2:5001"))
    own = (("192.0.2.1", 500), ("192.0.2.2", 5001))
    assert gateways(section) == (own, (("192.0.2.1", 4500), None))
    named = ClientSection(
        "fqdn:a", "fqdn:b", section.gateways, gateways_nat=("192.0.2.1:1", "192.0.2.2:2")
    )
    assert gateways(named) == (own, (("192.0.2.1", 1), ("192.0.2.2", 2)))
