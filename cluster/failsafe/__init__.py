"""Life without the store: pledges between members, and what is done under them (ADR 0017)."""
