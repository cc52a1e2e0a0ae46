"""The store over etcd v3: our own thin client on grpc.aio.

codec: octets · channels: connections and what failures mean · client: one call, every member ·
watch, lease, store: the verbs.
"""

from cluster.store_etcd.channels import EtcdOptions, EtcdTls
from cluster.store_etcd.store import EtcdStore, version_warning

__all__ = ["EtcdOptions", "EtcdStore", "EtcdTls", "version_warning"]
