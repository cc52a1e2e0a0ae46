"""Python's cyclic garbage collector, told what a gateway is like.

Rules: called once, when the process has started. What was made until then (code, classes, generated
messages) stays for good, so the collector needn't look at it again: a full collection took 33 ms of
a gateway's time otherwise, and datagrams waited for it. An exchange leaves next to no cycles behind
(counting references frees it), so young objects are looked at less often than by default.
"""

import gc

YOUNG_MAX = 5000
"""Containers made and not freed before the young ones are looked at; Python's default is 700."""
OLDER_EVERY, OLDEST_EVERY = 10, 10
"""Collections of one generation before the next older one is looked at (Python's defaults)."""


def settle_collector() -> None:
    """Set what there is now aside, and be patient from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, OLDER_EVERY, OLDEST_EVERY)
