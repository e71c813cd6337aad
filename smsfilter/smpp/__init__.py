"""The SMPP protocol (v3.4, and what a filter meets of v5.0), without I/O."""
