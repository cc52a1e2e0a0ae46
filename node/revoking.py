"""What a revocation hits at the other members, for the operator who makes it.

Rules: who hangs holds it up for `COUNT_TIMEOUT_S` at most, and is named; it holds there all the
same.
"""

import asyncio
from collections.abc import Mapping

from cluster.revocation import RuleKind
from node.admin_client import AdminClient, AdminError
from node.admin_view import Revoke

COUNT_TIMEOUT_S = 1.0
SESSION = RuleKind.SESSION.value
ENDS_SAS = (SESSION, RuleKind.IDENTITY.value)
"""The kinds that live SAs are ended by."""


async def concerned_at(
    others: Mapping[str, AdminClient], what: Revoke
) -> tuple[int, tuple[str, ...]]:
    """How many SAs of theirs it would end, and who didn't say so in time."""
    silent: list[str] = []

    async def count(name: str, other: AdminClient) -> int:
        try:
            async with asyncio.timeout(COUNT_TIMEOUT_S), other as peer:
                return await peer.concerned(what)
        except (AdminError, TimeoutError):
            silent.append(name)
            return 0

    counts = await asyncio.gather(*(count(name, other) for name, other in others.items()))
    return sum(counts), tuple(sorted(silent))
