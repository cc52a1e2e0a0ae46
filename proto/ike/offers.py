"""What a peer offered and what is configured, for the one line that a log has of a refusal.

Rules: only made when something was refused, bounded whatever was offered, and never sent.
Algorithms are named as operators write them; those that have no name here by their numbers.
"""

from collections.abc import Iterable, Sequence

from proto.ike.algorithms import FIXED_KEY_BITS, cipher_name, integ_name, ke_name, prf_name
from proto.ike.enums import TransformType
from proto.ike.payloads import SaPayload, TrafficSelector, Transform, TsPayload
from proto.ike.selectors import text as selector_text

SHOWN_MAX = 4
"""Proposals, or selectors of one side."""
TRANSFORMS_MAX = 16
"""Of one proposal."""


def no_proposal(offer: SaPayload, configured: Iterable[object]) -> str:
    """Why none was chosen; `configured`: suites, or sets of them."""
    offered = _some([_names(proposal.transforms) for proposal in offer.proposals])
    ours = _some([str(suites) for suites in configured])
    return f"no proposal in common: offered {offered}; configured {ours}"


def no_selectors(
    ts_i: TsPayload | None,
    ts_r: TsPayload | None,
    remote: Sequence[TrafficSelector],
    local: Sequence[TrafficSelector],
) -> str:
    """Why none were: the peer's side and ours, offered and configured."""
    asked = f"{_selectors(ts_i)} to {_selectors(ts_r)}"
    ours = f"{_texts(remote)} to {_texts(local)}"
    return f"no selectors in common: offered {asked}; configured {ours}"


def _selectors(ts: TsPayload | None) -> str:
    return "nothing" if ts is None else _texts(ts.selectors)


def _texts(selectors: Sequence[TrafficSelector]) -> str:
    return _some([selector_text(selector) for selector in selectors[: SHOWN_MAX + 1]], ", ")


def _names(transforms: Sequence[Transform]) -> str:
    names = [_name(transform) for transform in transforms[:TRANSFORMS_MAX]]
    more = len(transforms) - len(names)
    return "-".join([name for name in names if name] + ([f"and {more} more"] if more else []))


def _name(transform: Transform) -> str:
    """As in a configuration; a type's "none" isn't worth a word."""
    match transform.type:
        case TransformType.ENCR:
            bits = transform.key_length or FIXED_KEY_BITS.get(transform.id, 0)
            return cipher_name((transform.id, bits))
        case TransformType.INTEG if transform.id:
            return integ_name(transform.id)
        case TransformType.PRF:
            return prf_name(transform.id)
        case TransformType.KE if transform.id:
            return ke_name(transform.id)
        case TransformType.INTEG | TransformType.KE | TransformType.ESN:
            return ""
        case other:
            return f"type{other}:{transform.id}"


def _some(shown: Sequence[str], between: str = "; ") -> str:
    first = list(shown[:SHOWN_MAX])
    more = len(shown) - len(first)
    return between.join([*first, "…"] if more else first) or "nothing"
