"""The records: every table of the desk. Times are integers, µs UTC.

A customer's number and what customers wrote stand here only as ciphertext (`…_enc`, see
store/seal.py) and everything else refers to a customer by a random id. `changed_seq` is the ledger
row that last changed a row; what Redis has to follow is found by it. A migration in
store/migrations makes each change of this file.
"""

from typing import Final

from smsfilter.store.schema.base import metadata
from smsfilter.store.schema.companies import company, company_source, reseller_grant
from smsfilter.store.schema.desk import (
    answered,
    checkpoint,
    index_state,
    kept,
    key_meta,
    ledger,
    ledger_head,
)
from smsfilter.store.schema.people import customer, duty, release, session, staff
from smsfilter.store.schema.proxies import incident, refusal, segment
from smsfilter.store.schema.reports import (
    block,
    case_file,
    decision,
    hook_out,
    mo_part,
    receipt,
    report,
    sms_out,
    warning,
)

__all__ = [
    "APPEND_ONLY",
    "answered",
    "block",
    "case_file",
    "checkpoint",
    "company",
    "company_source",
    "customer",
    "decision",
    "duty",
    "hook_out",
    "incident",
    "index_state",
    "kept",
    "key_meta",
    "ledger",
    "ledger_head",
    "metadata",
    "mo_part",
    "receipt",
    "refusal",
    "release",
    "report",
    "reseller_grant",
    "segment",
    "session",
    "sms_out",
    "staff",
    "warning",
]

APPEND_ONLY: Final = (ledger, checkpoint)
"""Tables whose rows nobody may change or remove."""
