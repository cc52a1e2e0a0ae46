"""Secret octets in a type that doesn't print itself.

Rules: every key, shared secret and pre-shared key of the project travels as a `Secret`; `octets` is
the only way in, so that a search for it finds every place that handles key material. Python can't
wipe memory: lifetimes are kept short instead.
"""

import hmac


class Secret:
    """Octets that neither print, log, pickle nor compare in variable time."""

    __slots__ = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def __repr__(self) -> str:
        return f"<Secret {len(self.octets)} octets>"

    def __len__(self) -> int:
        return len(self.octets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.octets, other.octets)

    def __hash__(self) -> int:
        raise TypeError("a Secret is not a dictionary key")

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")
