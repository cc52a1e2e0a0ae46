"""Who a certificate speaks for, and by whose word.

One direction of dependence: `certificate` (octets → what is in it) ← `constraints`, `names`, `path`
(a chain to a trust anchor) ← `own` (what we show) ← `verifier` (a peer's CERT payloads → its public
key) ← `config` (files → all of that). Nothing here is about cluster or ticket.
"""
