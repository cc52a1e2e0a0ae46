"""What a ticket's bearer has proven is looked at again at a resumption, from memory."""

import asyncio
from typing import cast

import pytest
from msgspec.structs import replace

from node.credentials import Credentials
from node.eap.users import User, Users
from node.errands import Errands
from node.proving import check_certificates
from node.seams import OsClock
from node.supervisor import Supervisor
from node.trust.certificate import CertificateId
from node.trust.own import pair
from node.trust.path import Anchors
from node.trust.verifier import Trust, TrustSettings, decode_ids, encode_ids
from proto.ike.enums import CertEncoding, IdType
from proto.ike.errands import Result
from proto.ike.payloads import CertPayload
from proto.ike.proofs import ChainChecked, CheckChain
from proto.secret import Secret
from tests.pki import DAY_S, Authority
from tests.sim.seams import AtOnce
from tests.unit.proto.test_ticket import BODY

NOW_S = OsClock().wall_s()
TIMES = {"begins": NOW_S - DAY_S, "ends": NOW_S + DAY_S}
ROOT = Authority.root(**TIMES)
GATEWAY = ROOT.issue(names=["fqdn:gw.example.com"], **TIMES)
ALICE = ROOT.issue(names=["rfc822:alice@example.com"], **TIMES)
IDENTITY = (int(IdType.ID_FQDN), b"gw.example.com")
PSKS = (("rfc822:*@example.com", Secret(b"shared")),)
ID = CertificateId(b"issuer--", 7)
REMOTE = "192.0.2.7"


def trust() -> Trust:
    """Of a gateway with one certificate and one authority."""
    own = pair((GATEWAY.read,), GATEWAY.key)
    return Trust(TrustSettings(Anchors((ROOT.own.read,)), own=(own,)), OsClock())


class Revoking:
    """Knows of one revoked certificate."""

    def revoked(self, ids: tuple[CertificateId, ...]) -> bool:
        """Is it among them?"""
        return ID in ids

    def may_come_from(self, identity: tuple[int, bytes], address: str) -> bool:
        """From everywhere."""
        return True


def test_we_show_what_speaks_for_us_and_nothing_for_others() -> None:
    credentials = Credentials((), trust())
    own = credentials.own(IDENTITY, (), None)
    assert own is not None
    assert own.key == GATEWAY.key
    assert [shown.encoding for shown in own.shown] == [CertEncoding.X509_SIGNATURE]
    assert credentials.own((IDENTITY[0], b"other.example.com"), (), None) is None


@pytest.mark.parametrize(
    ("method", "identity", "good"),
    [
        ("psk", "rfc822:alice@example.com", True),
        ("certificate", "rfc822:nobody@example.org", True),
        ("certificate+psk", "rfc822:bob@example.com", True),
        ("certificate+psk", "rfc822:bob@example.org", False),
        ("eap-mschapv2", "key_id:carol", True),
        ("eap-mschapv2", "key_id:dave", False),
        ("certificate+eap-mschapv2", "key_id:dave", False),
        ("eap-tls", "key_id:dave", True),
        ("null", "null:", True),
    ],
)
def test_keys_and_users_are_still_there(method: str, identity: str, good: bool) -> None:
    users = Users((User("carol", Secret(bytes(16))),))
    credentials = Credentials(PSKS, trust(), users)
    body = replace(BODY, auth_method=method, identity=identity, idi=b"alice@example.com")
    assert credentials.may_resume(replace(body, idi_type=IdType.ID_RFC822_ADDR), REMOTE) is good


def test_a_key_that_was_taken_away_is_not_remembered() -> None:
    body = replace(BODY, idi_type=IdType.ID_RFC822_ADDR, idi=b"alice@example.com")
    assert Credentials(PSKS, trust()).may_resume(body, REMOTE)
    assert not Credentials((), trust()).may_resume(body, REMOTE)


@pytest.mark.parametrize("check", [True, False])
def test_r25_r42_a_certificate_for_an_address_is_good_at_that_address(check: bool) -> None:
    settings = replace(trust().settings, check_address=check)
    credentials = Credentials((), Trust(settings, OsClock()))
    body = replace(
        BODY,
        auth_method="certificate",
        idi_type=IdType.ID_IPV4_ADDR,
        idi=bytes((192, 0, 2, 7)),
    )
    assert credentials.may_resume(body, REMOTE)
    assert credentials.may_resume(body, "192.0.2.8") is not check
    assert credentials.may_resume(replace(body, auth_method="eap-tls"), "192.0.2.8")


def test_a_certificate_that_is_known_to_be_revoked_is_refused() -> None:
    credentials = Credentials((), cast(Trust, Revoking()))
    body = replace(BODY, auth_method="certificate", certificate=encode_ids((ID,)))
    assert decode_ids(body.certificate) == (ID,)
    assert not credentials.may_resume(body, REMOTE)
    other = encode_ids((CertificateId(b"issuer--", 8),))
    assert credentials.may_resume(replace(body, certificate=other), REMOTE)


@pytest.mark.parametrize("claimed", [b"alice@example.com", b"bob@example.com"])
async def test_a_chain_is_checked_by_errand(claimed: bytes) -> None:
    errands = Errands(Supervisor().contain, AtOnce())
    check_certificates(errands, trust())
    shown = (CertPayload(CertEncoding.X509_SIGNATURE, ALICE.read.der),)
    told: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    identity = (int(IdType.ID_RFC822_ADDR), claimed)
    errands.begin(CheckChain("", identity, shown, "192.0.2.1", False), told.set_result)
    checked = await told
    assert isinstance(checked, ChainChecked)
    if claimed == b"bob@example.com":
        assert checked.key is None
        assert "doesn't speak for rfc822:bob@example.com" in checked.why
    else:
        assert checked.key == ALICE.read.key
        assert len(decode_ids(checked.certificate)) == 1
        assert abs(checked.expires_wall_s - TIMES["ends"]) < 2
