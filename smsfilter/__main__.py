"""`python -m smsfilter` is the command `smsfilter`."""

import sys

from smsfilter.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
