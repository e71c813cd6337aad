"""The ledger: a chain of hashes, its signed checkpoints, its export and the proof of it. Pure."""
