"""`smsfilter block`: who may not reach whom."""

import argparse

from smsfilter.cli import block_proof


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("block", help="customers' blocks")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    block_proof.add(actions)
