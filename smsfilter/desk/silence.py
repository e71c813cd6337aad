"""The answer to a case is taken back, where it has not left: nobody is told of what is no more."""

from sqlalchemy import update

from smsfilter.store.schema import case_file, sms_out
from smsfilter.store.transaction import Transaction


def silence(transaction: Transaction, case: int) -> None:
    """A case is not to be answered now; an SMS that is being sent says nothing of it any more."""
    transaction.connection.execute(
        update(sms_out)
        .where(
            sms_out.c.case_id == case,
            sms_out.c.kind == "result",
            sms_out.c.state.in_(("held", "queued")),
        )
        .values(state="taken_back", next_at=None)
    )
    transaction.connection.execute(
        update(case_file).where(case_file.c.id == case).values(reply_sms=None, reply_failed=False)
    )
