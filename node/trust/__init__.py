"""Who a certificate speaks for, and whether it still does.

One direction of dependence: `certificate` (octets → what is in it) ← `constraints`, `names`, `path`
(a chain to a trust anchor) ← `crl`, `ocsp` (what its issuer has to say since) ← `revocation` (what
is known, what is fetched, what policy wants) ← `verifier` (a peer's CERT payloads → its public
key). `own` is our side: what we show. Nothing here is about cluster or ticket.
"""
