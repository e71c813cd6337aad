"""The desk: what people and the report centre do, on the records and in the ledger."""
