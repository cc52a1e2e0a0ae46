"""Who a certificate speaks for, by whose word, and whether it was taken back.

One direction of dependence: `certificate` (octets → what is in it) ← `constraints`, `names`, `path`
(a chain to a trust anchor) ← `crl`, `ocsp` (octets → what an issuer says since) ← `lists`,
`responders` (which fetch and remember it, by `fetch`) ← `revocation` (what policy makes of it),
`own`, `staples` (what we show) ← `verifier` (a peer's CERT payloads → its public key) ← `config`,
`build` (files → all of that). Nothing here is about cluster or ticket.
"""
