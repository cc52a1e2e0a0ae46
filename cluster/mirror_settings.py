"""How mirrors are kept, and the bounds of both sides."""

import msgspec


class MirrorSettings(msgspec.Struct, frozen=True):
    """See the module."""

    mirrors: int = 1
    flush_s: float = 0.02
    """How long an entry or an acknowledgement may wait for others to travel with it: every parcel
    costs either side as much as a dozen entries."""
    entries_per_frame: int = 64
    pending_max: int = 8192
    """Entries that wait to be sent or acknowledged, over all backups; at more a stream begins
    anew."""
    held_max: int = 200_000
    """Entries held for others; when full, those of sessions not held yet are not kept."""
    resend_s: float = 0.25
    """How long an acknowledgement may take before its frames are sent again; it doubles."""
    resend_max_s: float = 4.0
    compare_s: float = 5.0
    """How often a shard is compared with its mirrors."""
    compared_per_frame: int = 2000
    """Records in the shards of one frame of digests: what the backup adds up in one step."""
    scrub_s: float = 600.0
    """How often everything is compared with the store, by owners and by backups."""
    scan_pause_s: float = 0.02
    """Between two scans of the store: catching up leaves it to others most of the time."""
    settled_s: float = 5.0
    """How long after a shard was gained its records are listed: adopting comes first."""
