"""The store over the `etcd3` package: for sites that standardise on it. Slower, and it knows one
member of etcd only; `docs/store-etcd3.md` says what that means.

library: the package and how it is made to load · calls: one call, two deadlines, on a thread ·
watch, lease, store: the verbs. Octets, and what failures mean, are `cluster.store_etcd`'s.
"""

from cluster.store_etcd3.calls import Threads
from cluster.store_etcd3.library import Etcd3Files
from cluster.store_etcd3.store import Etcd3Store

__all__ = ["Etcd3Files", "Etcd3Store", "Threads"]
