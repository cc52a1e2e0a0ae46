"""Opaque records with owners: store, keys, shards, replication. Never imports proto.ike."""
