"""Real messages to begin with: two captured libreswan, and a normal run of our own."""

from functools import cache

from proto.ike.message import open_sealed, peek
from proto.ike.payloads import Payload, decode_chain, encode_chain
from tests.pair.craft import protections
from tests.pair.pair import Pair
from tests.unit.proto.known import LIBRESWAN, load

SK, SKF, HEADER_LEN = 46, 53, 28


@cache
def captured() -> tuple[bytes, ...]:
    """Every datagram of the captures, without the non-ESP marker."""
    found: dict[bytes, None] = {}
    for name in LIBRESWAN:
        for message in load(f"libreswan/{name}.json")["messages"]:
            found[bytes.fromhex(message["octets"])] = None
    return tuple(found)


@cache
def unsealed() -> tuple[bytes, ...]:
    """`first type 1 | chain` of every sealed message of the captures that is whole."""
    found: dict[bytes, None] = {}
    for name in LIBRESWAN:
        for message in load(f"libreswan/{name}.json")["messages"]:
            if "plaintext" in message:
                first = bytes((message["inner_first_payload"],))
                found[first + bytes.fromhex(message["plaintext"])] = None
    return tuple(found)


@cache
def normal_run() -> Pair:
    """A handshake, a question, a resumption, a Delete."""
    pair = Pair()
    first = pair.connect()
    pair.carry_out(pair.client, pair.client.endpoint.probe(first, pair.now))
    pair.run(0.1)
    second = pair.resume()
    pair.carry_out(pair.client, pair.client.endpoint.terminate(second, False, "over", pair.now))
    pair.run(0.1)
    return pair


@cache
def datagrams() -> tuple[bytes, ...]:
    """Captured ones and our own, clear and sealed."""
    pair = normal_run()
    return captured() + tuple(pair.client.octets()) + tuple(pair.gateway.octets())


@cache
def clear() -> tuple[bytes, ...]:
    """The clear ones."""
    return tuple(data for data in datagrams() if data[16] not in (SK, SKF))


@cache
def inner() -> tuple[tuple[Payload, ...], ...]:
    """What was inside the sealed messages of a handshake of our own."""
    pair = Pair()
    pair.connect()
    ((core, _),) = pair.client.endpoint.established()
    tx, rx = protections(core)
    sealed = [(d, tx) for d in pair.client.octets()] + [(d, rx) for d in pair.gateway.octets()]
    return tuple(open_sealed(d, peek(d), p).payloads for d, p in sealed if d[16] in (SK, SKF))


@cache
def payloads() -> tuple[Payload, ...]:
    """Every payload of them all."""
    found: dict[bytes, Payload] = {}
    for data in clear():
        for payload in decode_chain(data[16], data[HEADER_LEN:]):
            found[bytes((payload.TYPE,)) + payload.encode()] = payload
    for chain in inner():
        for payload in chain:
            found[bytes((payload.TYPE,)) + payload.encode()] = payload
    return tuple(found.values())


def chains() -> list[bytes]:
    """`first type 1 | chain` of every sealed message."""
    return [bytes((first,)) + body for first, body in map(encode_chain, inner())]
