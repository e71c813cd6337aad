"""The companies of the tests: who they are, what they send from, and who is approved.

Small enough to keep in mind: acme with two accounts, a source, a prefix and headers; bravo with one
of each; charlie, registered and never approved; and a reseller for the first two.
"""

from typing import Any

REGISTRY: dict[str, Any] = {
    "companies": {
        "acme": {
            "name": "Acme Trading",
            "accounts": ["acme", "acme2"],
            "sources": ["10657555", {"prefix": "106905551"}],
            "headers": ["ACME", "某公司"],
            "signatures": ["某公司"],
        },
        "bravo": {
            "name": "Bravo Retail",
            "accounts": ["bravo"],
            "sources": ["10658888"],
            "headers": ["BRAVO"],
        },
        "charlie": {
            "name": "Charlie Loans",
            "accounts": ["charlie"],
            "sources": ["10659999"],
        },
    },
    "resellers": {"resell7": {"may_send_for": ["acme", "bravo"]}},
}
"""Three companies and a reseller; `charlie` is registered and not approved."""

APPROVED = {"acme": ["*"], "bravo": ["*"]}
