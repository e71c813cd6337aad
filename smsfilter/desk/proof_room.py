"""What the desk does with the records of the proxies: takes them in, proves blocks, on request too.

A proof says what a customer was sent and when, so it is entered into the ledger before the answer.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from prometheus_client.registry import Collector
from pydantic import model_validator
from sqlalchemy import Connection
from starlette.routing import Route

from smsfilter import tasks
from smsfilter.decisions.layout import Kind
from smsfilter.decisions.proof import Decided
from smsfilter.desk import proving
from smsfilter.desk.api import Asked, route
from smsfilter.desk.blocking import branch_of
from smsfilter.desk.collecting import Collecting
from smsfilter.desk.evidence import Evidence
from smsfilter.desk.incidents import Incidents
from smsfilter.desk.office import Office
from smsfilter.desk.problems import not_found, refused
from smsfilter.desk.projection import Projection
from smsfilter.desk.proving import RESULTS, Given, Subject, UnprovableError
from smsfilter.desk.releases import Kinds
from smsfilter.deskmetrics import ProofMetrics
from smsfilter.flow.rights import Right
from smsfilter.rules.policy import Model
from smsfilter.store.reading import reading
from smsfilter.store.transaction import Transaction

LISTED_MOST: Final = 1_000
"""Messages of each kind that an answer lists, the newest; all are counted."""
HANDSET: Final = "handset:"


class _Wanted(Model):
    block: int | None = None
    customer: str = ""
    company: str = ""
    source: str = ""

    @model_validator(mode="after")
    def _one_pair(self) -> "_Wanted":
        named = bool(self.company) + bool(self.source)
        if self.block is None and (named != 1 or not self.customer):
            raise ValueError("name a block, or a customer and either a company or a source")
        return self


class ProofRoom:
    """Keeps the manifests, decides incidents, and proves what is asked for."""

    def __init__(self, office: Office, _projection: Projection) -> None:
        self._office = office
        self._metrics = ProofMetrics()
        self._evidence = Evidence(office)
        self._collecting = Collecting(office, self._evidence, self._metrics)
        self._incidents = Incidents(office, self._evidence, self._metrics)
        self._tasks: list[asyncio.Task[None]] = []
        self.releases: Kinds = {}
        self.collectors: Sequence[Collector] = (self._metrics,)
        self.routes: Sequence[Route] = (
            route(
                "/blocks/proof",
                self.prove,
                "POST",
                right=Right.PROVE_BLOCKS,
                body=_Wanted,
                keyed=False,
            ),
        )

    async def start(self) -> None:
        """Begin to collect and to decide."""
        self._tasks = [
            asyncio.create_task(self._collecting.run(), name="segments"),
            asyncio.create_task(self._incidents.run(), name="incidents"),
        ]

    async def stop(self) -> None:
        """End."""
        await tasks.ended(self._tasks)

    def reload(self) -> None:
        """Nothing of it is in a file that may change while it runs."""

    def missing(self) -> dict[str, str]:
        """Nothing: without records there are no proofs, and reports are taken all the same."""
        return {}

    async def prove(self, asked: Asked) -> Any:
        """Prove a block, or the block of a pair."""
        wanted: _Wanted = asked.body(_Wanted)
        try:
            answer, subject = await reading(
                self._office.records, lambda connection: self._answer(connection, wanted, asked)
            )
        except UnprovableError as error:
            raise refused(str(error)) from None

        def enter(transaction: Transaction) -> None:
            counts = ("violations", "doubtful", "refused", "before", "delivered_after", "gaps")
            transaction.enter(
                "proof given",
                asked.by,
                object=f"block:{subject.block}",
                case_id=subject.case_id,
                customer_id=subject.customer,
                detail={
                    "result": answer["result"],
                    "until": answer["until"],
                    **{name: answer["counts"][name] for name in counts},
                },
            )

        await self._office.writer.write(enter)
        self._metrics.proofs[answer["result"]] += 1
        return answer

    def _answer(
        self, connection: Connection, wanted: _Wanted, asked: Asked
    ) -> tuple[dict[str, Any], Subject]:
        office = self._office
        if wanted.block is not None:
            subject = proving.by_id(connection, office, wanted.block)
        else:
            pair = {"company": wanted.company, "source": wanted.source}
            subject = proving.by_pair(connection, office, wanted.customer, **pair)
        if not office.sees(asked.known, branch_of(connection, subject.customer)):
            raise not_found("such a block in your branch")
        given = proving.prove(connection, office, self._evidence, subject)
        report = proving.reported_at(connection, subject)
        return _told(given, report), subject


def _told(given: Given, report: tuple[str, int] | None) -> dict[str, Any]:
    """A proof as JSON has it."""
    subject, proof = given.subject, given.proof
    lists = {
        name: getattr(proof, name)
        for name in ("violations", "doubtful", "refused", "before", "delivered_after")
    }
    summed = [
        {name: getattr(row, name) for name in ("proxy", "count", "first", "last")}
        for row in given.summed
    ]
    proxies: dict[str, dict[str, int]] = {}
    for one in given.manifests:
        seen = proxies.setdefault(
            one.proxy, {"segments": 0, "since": one.since, "until": one.until}
        )
        seen["segments"] += 1
        seen["since"] = min(seen["since"], one.since)
        seen["until"] = max(seen["until"], one.until)
    return {
        "result": RESULTS[proof.result],
        "block": subject.block,
        "customer": subject.masked,
        "target": subject.target,
        "case": subject.case_id,
        "created_at": subject.created_at,
        "in_force_at": subject.in_force_at,
        "seq": subject.seq,
        "report": subject.report,
        "channel": report and report[0],
        "reported_at": report and report[1],
        "until": proof.until,
        "counts": {name: len(found) for name, found in lists.items()} | {"gaps": len(proof.gaps)},
        **{name: [_message(one) for one in found[-LISTED_MOST:]] for name, found in lists.items()},
        "summed": summed,
        "gaps": [gap._asdict() for gap in proof.gaps[:LISTED_MOST]],
        "proxies": proxies,
    }


def _message(one: Decided) -> dict[str, Any]:
    """A record as it may be shown: a person's number that sends is only said to be one."""
    is_receipt = one.kind is Kind.RECEIPT
    return {
        "at": one.at,
        "proxy": one.proxy,
        "segment": one.segment,
        "slot": one.slot,
        "verdict": one.kind.name.lower(),
        "companies": [name for name in one.companies if name],
        "source": "handset" if one.source.startswith(HANDSET) else one.source,
        "seq": None if is_receipt else one.seq,
        "reason": one.reason,
        "policy": one.policy,
    }
