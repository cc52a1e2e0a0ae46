"""node.trust.verifier and own: a peer's CERT payloads, and which of ours is shown."""

import pytest
from cryptography import x509

from node.trust.certificate import CertificateId, Unfit
from node.trust.own import Own, exact, pair
from node.trust.path import CERTIFICATES_MAX, Anchors
from node.trust.verifier import Checked, Trust, TrustSettings, decode_ids, encode_ids
from proto.ike.identity import Identity, parse_identity
from proto.ike.payloads import CertPayload, CertreqPayload
from proto.ike.signature import ANNOUNCED
from tests.pki import NOW, Authority, Issued, key

ROOT, OTHER = Authority.root(), Authority.root("other")
MIDDLE = ROOT.authority("middle")
NAMES = ["fqdn:peer.example.com", "ip:192.0.2.7"]
LEAF = MIDDLE.issue(names=NAMES)
PEER = parse_identity("fqdn:peer.example.com")


class Clock:
    """The wall clock of these tests."""

    def boot_s(self) -> float:
        return 0.0

    def wall_s(self) -> float:
        return NOW


def trust(**changed: object) -> Trust:
    given: dict[str, object] = {"anchors": Anchors([ROOT.own.read]), **changed}
    return Trust(TrustSettings(**given), Clock())  # type: ignore[arg-type]


def payloads(*issued: Issued | Authority) -> list[CertPayload]:
    return [CertPayload(4, (one.own if isinstance(one, Authority) else one).der) for one in issued]


async def checked(
    certificates: list[CertPayload],
    identity: Identity = PEER,
    *,
    connection: str = "",
    address: str = "192.0.2.7",
    **changed: object,
) -> Checked:
    return await trust(**changed).check(certificates, identity, connection, address)


async def test_a_peer_whose_certificates_hold() -> None:
    found = await checked(payloads(LEAF, MIDDLE))
    assert found.key == LEAF.key.public_key()
    assert found.subject == "CN=peer"
    assert found.not_after_wall_s == LEAF.read.not_after_wall_s
    assert decode_ids(encode_ids(found.ids)) == found.ids
    assert [one.serial for one in found.ids] == [
        LEAF.parsed.serial_number,
        MIDDLE.own.parsed.serial_number,
    ]


async def test_intermediates_that_are_known_needn_t_be_sent() -> None:
    with pytest.raises(Unfit, match="nobody trusted"):
        await checked(payloads(LEAF))
    await checked(payloads(LEAF), intermediates=(MIDDLE.own.read,))


async def test_the_first_certificate_is_the_peers_own() -> None:
    mine = ROOT.issue(names=["fqdn:mine.example.com"])
    with pytest.raises(Unfit, match=r"CN=peer: doesn't speak for fqdn:peer\.example\.com"):
        await checked(payloads(mine, LEAF, MIDDLE))


@pytest.mark.parametrize("encoding", [1, 7, 11, 12, 13, 14, 200])
async def test_other_encodings_are_not_believed(encoding: int) -> None:
    """RFC 7296 3.6: hash and URL (12, 13) is declined: HTTP_CERT_LOOKUP_SUPPORTED isn't sent."""
    (own,) = payloads(LEAF)
    foreign = CertPayload(encoding, own.data)
    with pytest.raises(Unfit, match=f"isn't a certificate: encoding {encoding}"):
        await checked([foreign, own, *payloads(MIDDLE)])
    await checked([own, foreign, *payloads(MIDDLE)])


async def test_no_certificate_at_all() -> None:
    with pytest.raises(Unfit, match="there is none"):
        await checked([])


async def test_rubbish_among_the_others_is_left_out() -> None:
    rubbish = [CertPayload(4, b"rubbish"), CertPayload(4, b"")]
    await checked([*payloads(LEAF), *rubbish, *payloads(MIDDLE)])
    with pytest.raises(Unfit, match="can't be read"):
        await checked([*rubbish, *payloads(LEAF, MIDDLE)])


async def test_their_number_is_bounded() -> None:
    many = payloads(LEAF, *[MIDDLE] * (CERTIFICATES_MAX - 1))
    await checked(many)
    with pytest.raises(Unfit, match="certificates in one message"):
        await checked([*many, many[-1]])


async def test_each_connection_trusts_its_own_authorities() -> None:
    theirs = OTHER.issue(names=NAMES)
    own_anchors = {"partners": Anchors([OTHER.own.read])}
    await checked(payloads(theirs), connection="partners", own_anchors=own_anchors)
    await checked(payloads(LEAF, MIDDLE), connection="staff", own_anchors=own_anchors)
    for certificates, connection in ((theirs, "staff"), (LEAF, "partners")):
        with pytest.raises(Unfit, match="nobody trusted"):
            await checked(
                payloads(certificates, MIDDLE), connection=connection, own_anchors=own_anchors
            )


async def test_an_address_must_be_the_peers_own() -> None:
    """RFC 4945 3.1.1: both comparisons are the default."""
    address = parse_identity("ipv4:192.0.2.7")
    await checked(payloads(LEAF, MIDDLE), address)
    with pytest.raises(Unfit, match=r"ipv4:192\.0\.2\.7 comes from 198\.51\.100\.1"):
        await checked(payloads(LEAF, MIDDLE), address, address="198.51.100.1")
    await checked(payloads(LEAF, MIDDLE), address, address="198.51.100.1", check_address=False)
    with pytest.raises(Unfit, match="doesn't speak for"):
        await checked(
            payloads(LEAF, MIDDLE), parse_identity("ipv4:198.51.100.1"), address="198.51.100.1"
        )
    with pytest.raises(Unfit, match="comes from ::1"):
        await checked(payloads(LEAF, MIDDLE), address, address="::1")


async def test_nobody_is_believed_without_anchors() -> None:
    with pytest.raises(Unfit, match="nobody trusted"):
        await checked(payloads(LEAF, MIDDLE, ROOT), anchors=Anchors([]))
    assert trust(anchors=Anchors([])).requests(None) == ()


def test_requests_name_the_anchors() -> None:
    own_anchors = {"partners": Anchors([OTHER.own.read])}
    asking = trust(own_anchors=own_anchors)
    assert asking.requests("partners") == (CertreqPayload(4, OTHER.own.read.key_hash),)
    assert asking.requests("staff") == (CertreqPayload(4, ROOT.own.read.key_hash),)
    both = sorted((OTHER.own.read.key_hash, ROOT.own.read.key_hash))
    assert asking.requests(None) == (CertreqPayload(4, b"".join(both)),)


def ours(*several: tuple[Issued, tuple[Authority, ...]]) -> tuple[Own, ...]:
    return tuple(
        pair([one.read, *(authority.own.read for authority in above)], one.key)
        for one, above in several
    )


def test_which_certificate_of_ours_is_shown() -> None:
    first = ROOT.issue("first", names=NAMES)
    second = MIDDLE.issue("second", "rsa", names=NAMES)
    third = OTHER.issue("third", "ed25519", names=NAMES)
    fourth = OTHER.issue("fourth", names=["fqdn:another.example.com"])
    showing = trust(own=ours((first, ()), (second, (MIDDLE,)), (third, (OTHER,)), (fourth, ())))

    def shown(
        *hashes: bytes,
        identity: Identity = PEER,
        announced: object = ANNOUNCED,
        encoding: int = 4,
    ) -> str:
        asked = [CertreqPayload(encoding, one) for one in hashes]
        chosen = showing.own(identity, asked, announced)  # type: ignore[arg-type]
        return "" if chosen is None else chosen.certificate.text

    root, middle, other = (one.own.read.key_hash for one in (ROOT, MIDDLE, OTHER))
    assert shown() == "CN=first"
    assert shown(root) == "CN=first"
    assert shown(middle) == "CN=second"
    assert shown(bytes(20) + other) == "CN=third"
    assert shown(bytes(20), other) == "CN=third"
    assert shown(bytes(20)) == "CN=first"  # advice, not a demand
    assert shown(b"") == "CN=first"
    assert shown(other[:19]) == "CN=first"
    assert shown(other, encoding=14) == "CN=first"
    assert shown(other, announced=None) == "CN=first"  # Ed25519 needs method 14
    assert shown(identity=parse_identity("fqdn:another.example.com")) == "CN=fourth"
    assert shown(identity=parse_identity("fqdn:nobody.example.com")) == ""


def test_an_authoritys_own_certificate_is_not_sent() -> None:
    (own,) = ours((LEAF, (MIDDLE, ROOT)))
    assert own.payloads() == tuple(payloads(LEAF, MIDDLE))
    assert "key" not in repr(own)


def test_a_distinguished_name_is_sent_as_the_certificate_has_it() -> None:
    kind = x509.name._ASN1Type.PrintableString
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gw", kind)])
    wanted = parse_identity("dn:CN=gw")
    assert name.public_bytes() != wanted[1]
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    secret = key("p256")
    parsed = (
        builder.public_key(secret.public_key())
        .not_valid_before(LEAF.parsed.not_valid_before_utc)
        .not_valid_after(LEAF.parsed.not_valid_after_utc)
        .sign(secret, LEAF.parsed.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    several = ours((LEAF, ()), (Issued(parsed, secret), ()))
    assert exact(several, wanted) == (9, name.public_bytes())
    assert exact(several, parse_identity("dn:CN=nobody")) == parse_identity("dn:CN=nobody")
    assert exact(several, PEER) == PEER


def test_what_may_be_revoked_fits_a_ticket() -> None:
    ids = tuple(CertificateId(bytes(range(n, n + 8)), 2**159 - n) for n in range(7))
    octets = encode_ids(ids)
    assert len(octets) == 7 * 29
    assert decode_ids(octets) == ids
    for end in range(len(octets)):
        decode_ids(octets[:end])  # a ticket is authenticated: any octets will do
    assert decode_ids(b"") == ()
