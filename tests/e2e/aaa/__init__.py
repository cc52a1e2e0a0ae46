"""AAA (who is it, what may he, what did he use) by programs of others that speak EAP and RADIUS:
FreeRADIUS, hostapd and eapol_test.

Rules: Debian's packages, brought by tools/get_radius.py; where they can't be had the tests fail,
they aren't left out. Everything they need is written into a folder of the test's own; they listen
on loopback and end with the test.
"""
