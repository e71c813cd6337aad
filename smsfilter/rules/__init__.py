"""The decision: who sends, to whom, and what the policy says of it. No I/O, no clock."""
