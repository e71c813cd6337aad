"""The command line: what starts the programs, and the tools around them."""
