"""EAP-MSCHAPv2 at the client.

Rules: the server must prove that it has the password too, before EAP's Success counts. A refusal is
acknowledged once, and never answered with another try or another password.
"""

import hmac

from cluster.seams import Rng
from node.eap.method import Proven
from node.eap.mschapv2 import codec, crypto
from node.eap.packet import EapError, EapType, MalformedEapError
from node.eap.users import without_domain
from proto.secret import Secret


class MschapV2Peer:
    """Implements `node.eap.method.PeerMethod`."""

    type = EapType.MSCHAPV2

    def __init__(self, name: str, nt_hash: Secret, rng: Rng) -> None:
        self._name = name
        self._nt_hash = nt_hash
        self._rng = rng
        self._id = 0
        self._response = b""
        self._digest = ""
        self.proven: Proven | None = None
        self.refusal = ""

    async def answer(self, data: bytes) -> bytes:
        """See `PeerMethod.answer`."""
        op = codec.op_code(data)
        if op == codec.FAILURE and self.proven is None:
            self._note(codec.Failure.decode(data))
            return codec.acknowledgement(codec.FAILURE)
        if op == codec.CHALLENGE and not self._response:
            return self._respond(codec.Challenge.decode(data))
        if op == codec.SUCCESS and self._response and self.proven is None and not self.refusal:
            self._check(codec.Success.decode(data))
            return codec.acknowledgement(codec.SUCCESS)
        raise MalformedEapError(f"MSCHAPv2 code {op} out of turn")

    def _respond(self, asked: codec.Challenge) -> bytes:
        self._id = asked.id
        mine = self._rng.bytes(crypto.CHALLENGE_OCTETS)
        name = without_domain(self._name).encode()
        challenge = crypto.challenge_hash(mine, asked.challenge, name)
        self._response = crypto.nt_response(challenge, self._nt_hash)
        self._digest = crypto.authenticator_response(self._nt_hash, self._response, challenge)
        return codec.Response(asked.id, mine, self._response, self._name.encode()).encode()

    def _check(self, said: codec.Success) -> None:
        if not hmac.compare_digest(said.digest.encode(), self._digest.encode()):
            raise EapError("the server doesn't know the password")
        self.proven = Proven(self._name, crypto.msk(self._nt_hash, self._response))

    def _note(self, said: codec.Failure) -> None:
        known = {
            codec.E_AUTHENTICATION_FAILURE: "unknown user or wrong password",
            codec.E_PASSWORD_EXPIRED: "the password has expired, and isn't changed from here",
        }
        self.refusal = known.get(said.error, f"MSCHAPv2 error {said.error}")
