"""Hypothesis strategies for every payload, as values that have exactly one encoding."""

from hypothesis import strategies as st

from proto.ike.enums import PayloadType, TsType
from proto.ike.payloads import (
    AuthPayload,
    CertPayload,
    CertreqPayload,
    CpPayload,
    DeletePayload,
    EapPayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    Proposal,
    SaPayload,
    TrafficSelector,
    Transform,
    TsPayload,
    UnknownPayload,
    VendorIdPayload,
)

u8 = st.integers(0, 0xFF)
u15 = st.integers(0, 0x7FFF)
u16 = st.integers(0, 0xFFFF)
octets = st.binary(max_size=40)
spi = st.binary(min_size=8, max_size=8)

other_attributes = st.lists(
    st.one_of(
        st.builds(
            lambda kind, value: (0x8000 | kind).to_bytes(2, "big") + value.to_bytes(2, "big"),
            u15.filter(lambda kind: kind != 14),
            u16,
        ),
        st.builds(
            lambda kind, value: kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value,
            u15,
            octets,
        ),
    ),
    max_size=2,
).map(b"".join)

transforms = st.builds(
    Transform,
    type=u8,
    id=u16,
    key_length=st.none() | u16,
    attributes=other_attributes,
)
proposals = st.builds(
    Proposal,
    number=u8,
    protocol=u8,
    spi=st.sampled_from([b"", b"\x01\x02\x03\x04", b"\x01\x02\x03\x04\x05\x06\x07\x08"]),
    transforms=st.lists(transforms, min_size=1, max_size=5).map(tuple),
)


def _selectors(ts_type: TsType, size: int) -> st.SearchStrategy[TrafficSelector]:
    address = st.binary(min_size=size, max_size=size)
    return st.builds(TrafficSelector, st.just(ts_type), u8, u16, u16, address, address)


selectors = st.one_of(
    _selectors(TsType.TS_IPV4_ADDR_RANGE, 4),
    _selectors(TsType.TS_IPV6_ADDR_RANGE, 16),
    st.builds(
        TrafficSelector,
        u8.filter(lambda kind: kind not in (7, 8)),
        u8,
        st.just(0),
        st.just(0),
        octets,
        st.just(b""),
    ),
)


def _deletes(size: int) -> st.SearchStrategy[DeletePayload]:
    spis = st.lists(st.binary(min_size=size, max_size=size), max_size=4).map(tuple)
    return st.builds(DeletePayload, u8, st.just(size), spis)


eap = st.builds(
    lambda code, data: EapPayload(bytes((code, 1)) + (4 + len(data)).to_bytes(2, "big") + data),
    u8,
    octets,
)

payloads = st.one_of(
    st.builds(SaPayload, st.lists(proposals, min_size=1, max_size=3).map(tuple)),
    st.builds(KePayload, u16, octets),
    st.builds(IdPayload, st.sampled_from([PayloadType.IDi, PayloadType.IDr]), u8, octets),
    st.builds(CertPayload, u8, octets),
    st.builds(CertreqPayload, u8, octets),
    st.builds(AuthPayload, u8, octets),
    st.builds(NoncePayload, st.binary(min_size=16, max_size=256)),
    st.builds(NotifyPayload, u16, octets, u8, st.binary(max_size=8)),
    st.one_of(st.builds(DeletePayload, u8, st.just(0), st.just(())), _deletes(4), _deletes(8)),
    st.builds(VendorIdPayload, octets),
    st.builds(
        TsPayload,
        st.sampled_from([PayloadType.TSi, PayloadType.TSr]),
        st.lists(selectors, max_size=3).map(tuple),
    ),
    st.builds(CpPayload, u8, st.lists(st.tuples(u15, octets), max_size=3).map(tuple)),
    eap,
    st.builds(UnknownPayload, st.sampled_from([1, 32, 49, 54, 200]), st.booleans(), octets),
)
chains = st.lists(payloads, max_size=6).map(tuple)
