"""EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2): MS-CHAP-V2 (RFC 2759) inside EAP, its key by
RFC 3079.

Rules: no change of passwords and no second try: the peer is told so, and the conversation ends. It
is open to whoever tries passwords offline, so it never stands alone (`node.eap.method.traits`).
"""
