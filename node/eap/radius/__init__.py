"""EAP through RADIUS: the gateway passes packets on, a RADIUS server does the method (RFC 3579).

Rules: a reply counts only with a right Message-Authenticator, whatever its Response Authenticator
says (CVE-2024-3596). The decision is the RADIUS packet's type alone; no EAP packet is made up to
fit it (RFC 3579 2.6.3). Packets are pyrad's, sockets and time are ours. RFC 2865, RFC 2548 for the
key.
"""
