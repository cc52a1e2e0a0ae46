"""EAP-MSCHAPv2 at the gateway.

Rules: an unknown user costs the same rounds and the same arithmetic as a wrong password, and is
told the same. Who was authenticated is the entry of the file that fits the name in the response,
for that name is what the response proves. After Failure nothing helps any more: no second try, no
new password.
"""

import hmac

from cluster.seams import Rng
from node.eap.method import Proven, Reason, Refused
from node.eap.mschapv2 import codec, crypto
from node.eap.packet import EapType, MalformedEapError, decode_identity
from node.eap.users import Users, without_domain
from proto.secret import Secret


class MschapV2Server:
    """Implements `node.eap.method.ServerMethod`."""

    type = EapType.MSCHAPV2

    def __init__(self, users: Users, name: str, rng: Rng) -> None:
        """`name`: what the challenge says its sender is called."""
        self._users = users
        self._name = name
        self._challenge = rng.bytes(crypto.CHALLENGE_OCTETS)
        self._nobody = Secret(rng.bytes(crypto.NT_HASH_OCTETS))
        self._again = rng.bytes(crypto.CHALLENGE_OCTETS)
        self._id = 0
        self._proven: Proven | None = None
        self.refusal: Refused | None = None

    async def begin(self, identifier: int) -> bytes:
        """The challenge."""
        self._id = identifier
        return codec.Challenge(identifier, self._challenge, self._name.encode()).encode()

    async def answer(self, data: bytes) -> bytes | Proven | Refused:
        """See `ServerMethod.answer`."""
        if self.refusal is not None:
            return self.refusal
        if self._proven is None:
            return self._judge(codec.Response.decode(data))
        if codec.op_code(data) == codec.SUCCESS:
            return self._proven
        return Refused(Reason.REJECTED, "the peer doesn't take our proof")

    def _judge(self, response: codec.Response) -> bytes:
        if response.id != self._id:
            raise MalformedEapError("an MSCHAPv2 response to another challenge")
        name = decode_identity(response.name)
        user = self._users.find(name)
        nt_hash = self._nobody if user is None else user.nt_hash
        challenge = crypto.challenge_hash(
            response.challenge, self._challenge, without_domain(name).encode()
        )
        right = hmac.compare_digest(crypto.nt_response(challenge, nt_hash), response.nt_response)
        digest = crypto.authenticator_response(nt_hash, response.nt_response, challenge)
        msk = crypto.msk(nt_hash, response.nt_response)
        if user is None or not right:
            why = f"unknown user {name!r}" if user is None else f"wrong password of {name!r}"
            self.refusal = Refused(Reason.CREDENTIALS, why)
            return codec.Failure(self._id, codec.E_AUTHENTICATION_FAILURE, self._again).encode()
        self._proven = Proven(user.identity, msk)
        return codec.Success(self._id, digest).encode()
