"""The daily list over the API: what headquarters reads in the morning, of any day."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.routing import Route

from smsfilter.cases.escalating import daily
from smsfilter.desk.api import Asked, route
from smsfilter.desk.office import Office
from smsfilter.desk.problems import invalid
from smsfilter.flow.rights import Right
from smsfilter.store.reading import reading


def routes(office: Office) -> Sequence[Route]:
    """Return the path of the list."""
    zone = ZoneInfo(office.policy.timezone)

    async def listed(asked: Asked) -> Any:
        """The cases that were late the day before, and how many are due on the day."""
        text = asked.query.get("day")
        try:
            day = _today(office, zone) if text is None else date.fromisoformat(text)
        except ValueError:
            raise invalid("day is such as 2026-11-27") from None
        within = office.seen_by(asked.known)
        found = await reading(office.records, lambda at: daily(at, day, zone, within))
        detail = {"day": day.isoformat(), "count": len(found["cases"])}
        await office.writer.write(
            lambda into: into.enter("daily list shown", asked.by, detail=detail)
        )
        return found

    query = {"day": "such as 2026-11-27; today if unset"}
    return (route("/daily", listed, right=Right.ASSIGN_CASES, query=query),)


def _today(office: Office, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(office.clock() / 1e6, zone).date()
