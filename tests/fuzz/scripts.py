"""Scripts to begin with for whole endpoints: each step once and in a sensible order, in every
situation, and each kind of payload from an evil peer.
"""

from collections.abc import Sequence
from functools import cache

from proto.ike.core import replace
from proto.ike.enums import CfgAttribute, ExchangeType, KeMethod, NotifyType, ProtocolId
from proto.ike.nat import shown
from proto.ike.negotiation import child_proposal, proposal
from proto.ike.payloads import (
    AuthPayload,
    CpPayload,
    DeletePayload,
    EapPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
    VendorIdPayload,
    encode_chain,
)
from proto.ike.redirect import parse_target, redirect, redirected_from
from proto.ike.suite import Kes
from tests.fuzz.samples import captured, payloads, unsealed
from tests.fuzz.target import block
from tests.fuzz.world import (
    COOKIES,
    EAP,
    HYBRID,
    MORE_KES,
    POOLS,
    QUIET,
    RESUMING,
    ROAMING,
    World,
    build,
)
from tests.pair.authorities import packet
from tests.pair.craft import fragments
from tests.pair.pair import Pair
from tests.pair.parts import SECOND_GATEWAY

INFORMATIONAL, CREATE_CHILD_SA = ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA
IKE_AUTH, IKE_INTERMEDIATE = ExchangeType.IKE_AUTH, ExchangeType.IKE_INTERMEDIATE
IKE_FOLLOWUP_KE = ExchangeType.IKE_FOLLOWUP_KE
WHOLE, RESPONSE, FRAGMENT = 0, 1, 0x92
"""How an evil peer's content is sealed."""
NEXT, LAST = 6, 7
"""Message IDs: that of the request that is expected, that of the one sent last."""
CHILD_OF_PEER, CHILD_OF_OURS, ASKED = b"\xc1peR", b"\xc1ouR", b"\xc1asked by us\xc1\xc1\xc1\xc1\xc1"
"""These stand for a Child SA's SPIs, and for the nonce or COOKIE2 of our request."""
LINK = b"\xc1a link\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1"
"""This stands for what our last answer wants to have back."""
P256_POINT = bytes.fromhex(
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
"""A point of P-256: the generator."""
LONG = 100
"""No INFORMATIONAL of the captures is."""
COOKIE2 = NotifyPayload(NotifyType.COOKIE2, ASKED)


def sealed(
    exchange: int, number: int, content: Sequence[Payload], how: int = WHOLE, core: int = 0
) -> bytes:
    """The step `tests.fuzz.endpoint.sealed`: `content` from the evil peer of SA `core`."""
    first, inside = encode_chain(content)
    return bytes((7, core, how, exchange - 34, number, first)) + block(inside)


def raw(data: bytes) -> bytes:
    """The step `tests.fuzz.endpoint.raw`."""
    return b"\x00" + block(data)


def honest(index: int = 0) -> bytes:
    """The step of that name."""
    return bytes((3, index))


@cache
def _world() -> World:
    return build(ROAMING, on_gateway=True)


def _notifies() -> list[bytes]:
    """What is said of addresses, NATs and other gateways; as a request and as an answer."""
    pair = _world().pair
    core = pair.gateway.live()[-1]
    detection = shown(core.spi_i, core.spi_r, _world().moves_to(0), False)
    update = NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES)
    others = (
        NotifyPayload(NotifyType.ADDITIONAL_IP4_ADDRESS, bytes(4)),
        NotifyPayload(NotifyType.ADDITIONAL_IP6_ADDRESS, bytes(16)),
        NotifyPayload(NotifyType.NO_ADDITIONAL_ADDRESSES),
    )
    forbidden = NotifyPayload(NotifyType.NO_NATS_ALLOWED, bytes(12))
    refused = NotifyPayload(NotifyType.UNACCEPTABLE_ADDRESSES)
    elsewhere = parse_target(SECOND_GATEWAY[0])
    return [
        sealed(INFORMATIONAL, NEXT, (update, *detection, COOKIE2)) + b"\x04\x00\x06\x03",
        sealed(INFORMATIONAL, NEXT, (update, forbidden, *others)),
        b"\x09\x05\x00" + sealed(INFORMATIONAL, LAST, (*detection, COOKIE2), RESPONSE),
        b"\x09\x05\x01" + sealed(INFORMATIONAL, LAST, (COOKIE2, refused), RESPONSE),
        sealed(INFORMATIONAL, NEXT, (redirect(elsewhere),)) + b"\x04\x00" + honest(),
        sealed(INFORMATIONAL, NEXT, (redirected_from(SECOND_GATEWAY[0]),)),
        b"\x09\x04\x00" + honest() + b"\x09\x05\x01" + honest() + b"\x04\x00",
    ]


def _of_auth() -> list[bytes]:
    """EAP, AUTH, proofs to follow and configuration, by whoever is half-open."""
    asked = CpPayload(1, ((CfgAttribute.INTERNAL_IP4_ADDRESS, b""), (25, b"")))
    given = CpPayload(2, ((CfgAttribute.INTERNAL_IP4_ADDRESS, bytes((10, 9, 0, 1))),))
    follows = NotifyPayload(NotifyType.ANOTHER_AUTH_FOLLOWS)
    steps = []
    for core in range(3):
        says = EapPayload(packet(2, 1, 250, b"swordfish"))
        steps.append(sealed(IKE_AUTH, 2, (says,), core=core) + b"\x08\x01")
        steps.append(sealed(IKE_AUTH, 2, (EapPayload(packet(3, 3)),), RESPONSE, core) + b"\x08\x00")
        steps.append(sealed(IKE_AUTH, 1, (AuthPayload(2, bytes(32)), follows, asked), core=core))
        steps.append(sealed(IKE_AUTH, 1, (given, AuthPayload(14, bytes(64))), RESPONSE, core))
    return steps


def _of_intermediate() -> list[bytes]:
    """A KE each of the two that are wanted, while errands are out and when they are not."""
    ecp = KePayload(KeMethod.ECP_256, b"\x04" * 64)
    slow = KePayload(KeMethod.CURVE448, bytes(range(56)))
    steps = []
    for core in range(3):
        steps.append(sealed(IKE_INTERMEDIATE, 1, (ecp,), core=core))
        steps.append(b"\x08\x01" + sealed(IKE_INTERMEDIATE, 1, (slow,), core=core) + b"\x08\x00")
        steps.append(sealed(IKE_INTERMEDIATE, 1, (slow,), RESPONSE, core))
    return [*steps, honest() + honest(1) + b"\x08\x01" + honest() + b"\x08\x00"]


def _of_children() -> list[bytes]:
    """New Child SAs and rekeys, of the evil peer's and of ours."""
    offer = next(p for p in payloads() if isinstance(p, SaPayload) and p.proposals[0].protocol == 3)
    nonce, ke = NoncePayload(bytes(32)), KePayload(KeMethod.CURVE25519, bytes(range(32)))
    selectors = [p for p in payloads() if isinstance(p, TsPayload)][:2]
    of = NotifyPayload(NotifyType.REKEY_SA, b"", ProtocolId.ESP, CHILD_OF_PEER)
    delete = DeletePayload(ProtocolId.ESP, 4, (CHILD_OF_PEER,))
    ike = next(p for p in payloads() if isinstance(p, SaPayload) and p.proposals[0].protocol == 1)
    ike = SaPayload(tuple(replace(one, spi=b"evil-spi") for one in ike.proposals))
    wanted = [bytes((9, kind, 0)) + honest() + b"\x04\x00" for kind in (0, 1, 2, 3, 6)]
    return [
        sealed(CREATE_CHILD_SA, NEXT, (offer, nonce, ke, *selectors)),
        sealed(CREATE_CHILD_SA, NEXT, (of, offer, nonce, *selectors)),
        sealed(CREATE_CHILD_SA, NEXT, (ike, nonce, ke)),
        *[_answered(kind, (offer, nonce, ke, *selectors)) for kind in (1, 2)],
        _answered(0, (ike, nonce, ke)),
        sealed(INFORMATIONAL, NEXT, (delete,)),
        sealed(CREATE_CHILD_SA, LAST, (NotifyPayload(NotifyType.TEMPORARY_FAILURE),), RESPONSE),
        *wanted,
    ]


def _of_followups() -> list[bytes]:
    """Rekeys with additional key exchanges: the evil peer's, with what may follow, and ours,
    which it answers so.
    """
    (suite,) = MORE_KES
    nonce, ke = NoncePayload(bytes(32)), KePayload(KeMethod.CURVE25519, bytes(range(32)))
    link = NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, LINK)
    ecp = KePayload(KeMethod.ECP_256, P256_POINT)
    slow = KePayload(KeMethod.CURVE448, bytes(range(56)))
    ike = proposal(MORE_KES, b"evil-spi")
    kes = Kes((suite.ke,), tuple((method,) for method in suite.addkes))
    child = child_proposal((QUIET.child_suites[0],), b"\xc1new", (kes,))
    ends = [p for p in payloads() if isinstance(p, TsPayload)][:2]
    followups = [
        sealed(IKE_FOLLOWUP_KE, NEXT, content, how)
        for content in ((ecp, link), (slow, link), (link,), (ecp,))
        for how in (WHOLE, FRAGMENT)
    ]
    begun = [
        sealed(CREATE_CHILD_SA, NEXT, (ike, nonce, ke)),
        sealed(CREATE_CHILD_SA, NEXT, (child, nonce, ke, *ends)),
    ]
    asked = [_answered(0, (ike, nonce, ke, link)), _answered(1, (child, nonce, ke, link, *ends))]
    answers = [
        sealed(IKE_FOLLOWUP_KE, LAST, content, RESPONSE)
        for content in (
            (ecp, link),
            (slow,),
            (NotifyPayload(NotifyType.STATE_NOT_FOUND),),
        )
    ]
    steps = [one + two for one in begun for two in followups]
    steps += [one + two for one in asked for two in answers]
    steps.append(begun[0] + b"\x08\x01" + followups[0] + b"\x08\x00" + followups[2])
    wanted = [bytes((9, kind, 0)) + 4 * (honest() + b"\x04\x00") for kind in (0, 1, 2)]
    return [*steps, *wanted]


def _answered(kind: int, content: Sequence[Payload]) -> bytes:
    """We ask for something by CREATE_CHILD_SA, and the evil peer answers."""
    return bytes((9, kind, 0)) + sealed(CREATE_CHILD_SA, LAST, content, RESPONSE)


def _said(chain: bytes) -> bytes:
    """What a peer that others wrote said under its keys, from an evil one of ours."""
    code = IKE_AUTH if len(chain) > LONG else INFORMATIONAL
    return bytes((7, 1, WHOLE, code - 34, 1, chain[0])) + block(chain[1:])


def _usual() -> list[bytes]:
    """Each of the first eight steps."""
    pair = Pair(QUIET)
    pair.start()
    init = pair.client.sent[0].data
    first, body = encode_chain((NotifyPayload(NotifyType.TICKET_OPAQUE, bytes(60)),))
    vendor = VendorIdPayload(b"standfast")
    nack = b"\x01\x63" + b"evil-spi" + bytes((first, 4, 8, 0)) + block(body)
    return [
        raw(init),
        nack,
        b"\x02\x00\x14\x00\x20\xff",
        honest(),
        sealed(INFORMATIONAL, NEXT, ()) + sealed(INFORMATIONAL, 3, (vendor,)),
        sealed(INFORMATIONAL, 3, (vendor,), FRAGMENT),
        b"\x05\x01" + honest() + b"\x05\x00" + honest(),
        b"\x06\x00" + honest() + b"\x04\x00" + honest(),
        b"\x06\x01" + honest() + honest(1) + b"\x04\x01",
        b"\x06\x03" + honest() + b"\x06\x02" + honest(),
        b"\x04\x03",
    ]


def _pieces() -> bytes:
    """A genuine message, as fragments, of which a stranger repeats one."""
    core = _world().pair.client.live()[0]
    return b"".join(map(raw, fragments(core, _world().pair.client.octets()[1], 400)[:2]))


def seeds() -> list[bytes]:
    """See the module; what is captured comes last, a script for all of each capture's datagrams."""
    usual = _usual()
    groups = (
        (ROAMING, _notifies()),
        (EAP | POOLS, _of_auth()),
        (HYBRID, _of_intermediate()),
        (RESUMING, _of_children()),
        (HYBRID, _of_followups()),
    )
    scripts = [bytes((situation,)) + step for situation, step in enumerate(usual)]
    scripts += [
        bytes((COOKIES | 0x0E,)) + b"".join(usual),
        b"\x0e" + b"".join(reversed(usual)),
    ]
    for situation, steps in groups:
        scripts += [bytes((situation,)) + step for step in steps]
        scripts.append(bytes((situation ^ 0xFF,)) + b"".join(reversed(steps)))
    scripts.append(bytes((ROAMING,)) + _pieces())
    of_others = [raw(data) for data in captured()]
    of_others += [_said(chain) for chain in unsealed()]
    few = [of_others[n : n + 4] for n in range(0, len(of_others), 4)]
    return scripts + [bytes((ROAMING,)) + b"".join(some) for some in few]
