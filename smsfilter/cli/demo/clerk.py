"""The clerk of the demo: a program of its own, who answers each case by the desk's API alone.

Does what a person would: asks for the next case, follows what is suggested from its evidence, and
has the customer answered. Says what it does in lines of JSON, and counts nothing.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from smsfilter.cli import loginfile
from smsfilter.cli.client import Client, DeskError

LOOK_AGAIN_S: Final = 0.2
WITHOUT_A_RULE: Final = "unresolvable"
"""The outcome where no rule suggests one."""


def answer(desk: Client) -> dict[str, Any] | None:
    """Answer the most urgent case, and return what was done; None: there is none."""
    found = desk.get("/cases/next")
    if found["case"] is None:
        return None
    case = found["case"]["id"]
    said = found["suggestion"] or {"outcome": WITHOUT_A_RULE, "rule": "", "records": []}
    desk.post(f"/cases/{case}/take", {})
    decision = {
        "outcome": said["outcome"],
        "reason": f"as suggested by {said['rule']}" if said["rule"] else "nothing was found",
        "reply": True,
    }
    desk.post(f"/cases/{case}/decide", decision)
    return {
        "case": case,
        "evidence": len(found["evidence"]),
        "outcome": said["outcome"],
        "rule": said["rule"],
        "records": said["records"],
    }


def main() -> int:
    """Answer cases until ended; 1 where the desk refuses something."""
    login = loginfile.read()
    desk = Client(Path(sys.argv[1]), "smsfilter demo", None if login is None else login.token)
    try:
        while True:
            done = answer(desk)
            if done is None:
                time.sleep(LOOK_AGAIN_S)
            else:
                print(json.dumps({"event": "decided", **done}), flush=True)
    except DeskError as error:
        print(error, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
