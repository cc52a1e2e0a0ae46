"""The long proofs with real processes: `make proof`."""
