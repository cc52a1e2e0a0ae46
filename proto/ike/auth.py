"""The AUTH payload's value: with a pre-shared key, and after a resumption in both forms that are
met in the wild.

Rules: every comparison is constant-time; the AUTH method octet never chooses the algorithm on a
resumed SA. RFC 7296 2.15; RFC 5723 4.3.3. First-message form: libreswan from 5.2 on signs the
IKE_SESSION_RESUME message alone.
"""

import enum
import hmac
from collections.abc import Collection

from proto.ike.kdf import prf, running_prf
from proto.secret import Secret

_KEY_PAD = b"Key Pad for IKEv2"


class ResumeForm(enum.Enum):
    """Which octets AUTH covers after IKE_SESSION_RESUME."""

    RFC = "rfc"
    """RealMessage | other side's nonce | prf(SK_p, ID payload)."""
    FIRST_MESSAGE = "first-message"
    """RealMessage alone."""


_RFC = ResumeForm.RFC
_FIRST_MESSAGE = ResumeForm.FIRST_MESSAGE


def signed_octets(
    message: bytes, nonce_other: bytes, prf_id: int, sk_p: Secret, id_body: bytes
) -> bytes:
    """RealMessage | NonceData of the other side | prf(SK_p, RestOfIDPayload) (RFC 7296 2.15).

    `message` is one's own first message, header included, the non-ESP marker not; `sk_p` is SK_pi
    for the initiator's AUTH and SK_pr for the responder's.
    """
    return message + nonce_other + prf(prf_id, sk_p, id_body)


def psk_auth(prf_id: int, psk: Secret, octets: bytes) -> bytes:
    """prf(prf(Shared Secret, "Key Pad for IKEv2"), signed octets) (RFC 7296 2.15)."""
    return prf(prf_id, Secret(prf(prf_id, psk, _KEY_PAD)), octets)


def make_resume_auth(
    form: ResumeForm,
    prf_id: int,
    sk_p: Secret,
    message: bytes,
    nonce_other: bytes,
    id_body: bytes,
) -> bytes:
    """AUTH data after IKE_SESSION_RESUME in `form`: prf(SK_p, octets), no key pad (RFC 5723 4.3.3).

    The other parameters are as in `signed_octets`.
    """
    mac = running_prf(prf_id, sk_p)
    of_id = mac.copy()
    mac.update(message)
    if form is _RFC:
        of_id.update(id_body)
        mac.update(nonce_other + of_id.finalize())
    return mac.finalize()


def match_resume_auth(
    received: bytes,
    prf_id: int,
    sk_p: Secret,
    message: bytes,
    nonce_other: bytes,
    id_body: bytes,
    allowed: Collection[ResumeForm],
) -> ResumeForm | None:
    """The form among `allowed` in which `received` is right, or None.

    Both forms are always computed and compared, so that time tells neither the form nor the policy.
    """
    mac = running_prf(prf_id, sk_p)
    of_id = mac.copy()
    of_id.update(id_body)
    mac.update(message)
    of_message = mac.copy()
    mac.update(nonce_other + of_id.finalize())
    is_rfc = hmac.compare_digest(received, mac.finalize())
    is_message = hmac.compare_digest(received, of_message.finalize())
    if is_rfc and _RFC in allowed:
        return _RFC
    if is_message and _FIRST_MESSAGE in allowed:
        return _FIRST_MESSAGE
    return None
