"""From which of its addresses a client talks."""

import pytest

from node.origins import LocalSocket, local_host


def taken(_data: bytes, _path: object) -> None:
    """Nothing is sent here."""


async def test_a_client_talks_from_the_address_that_its_route_has() -> None:
    socket = LocalSocket((("127.0.0.1", 500), ("::1", 500), ("127.0.0.9", 500)), nat=True)
    socket.open(taken)
    assert socket.udp is not None
    four, six, nat_four, nat_six = socket.udp.addresses
    assert socket.ike(("127.0.0.9", 500)) == four
    assert socket.ike(("::1", 500)) == ("::1", six[1])
    assert socket.nat(("127.0.0.9", 4500)) == nat_four
    assert socket.nat(("::1", 4500)) == ("::1", nat_six[1])
    assert len({four[1], six[1], nat_four[1], nat_six[1]}) == 4
    socket.close()


async def test_without_ports_for_nats_there_is_no_such_way_and_without_a_socket_none() -> None:
    socket = LocalSocket((("127.0.0.1", 500),))
    with pytest.raises(OSError, match=r"no socket was opened for 127\.0\.0\.1"):
        socket.ike(("127.0.0.1", 500))
    socket.open(taken)
    assert socket.nat(("127.0.0.1", 4500)) is None
    with pytest.raises(OSError, match="no socket was opened for ::1"):
        socket.ike(("::1", 500))
    socket.close()


@pytest.mark.parametrize(
    ("gateway", "host"),
    [("127.0.0.7", "127.0.0.1"), ("192.0.2.1", "0.0.0.0"), ("2001:db8::1", "::")],
)
def test_only_who_talks_to_loopback_binds_to_it(gateway: str, host: str) -> None:
    assert local_host((gateway, 500)) == host
