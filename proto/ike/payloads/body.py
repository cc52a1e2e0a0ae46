"""What all payloads have, beside the generic header (RFC 7296 3.2)."""

from typing import ClassVar

import msgspec

CRITICAL = 0x80
"""The flag of a payload that its sender doesn't want to be skipped."""


class Body(msgspec.Struct, frozen=True, gc=False):
    """Base of all payloads. Those that RFC 7296 knows are sent without the critical flag."""

    FLAGS: ClassVar[int] = 0
