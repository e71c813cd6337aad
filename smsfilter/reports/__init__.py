"""The report centre: its bind to the SMSC, what customers send it, and what they are answered."""
