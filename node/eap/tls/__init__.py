"""EAP-TLS with TLS 1.2 (RFC 5216) and 1.3 (RFC 9190), on pyOpenSSL, which can export keys.

Rules: both sides show a certificate; nothing is resumed in TLS, for IKE has its own resumption,
which asks no back end. What TLS itself finds wrong is told in an alert; what `Trust` finds wrong
ends the method before the key is used.
"""
