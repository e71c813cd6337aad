"""The SMS path: accept an ESME, pair it with the SMSC, decide each batch, forward or refuse."""
