"""IKEv2 without I/O: octets, a path and the time in; an Outcome out (RFC 7296, 5723, 7383)."""
