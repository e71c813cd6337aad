"""The clock of the cases over real records: owners, warnings, the morning's list, a webhook."""

import hashlib
import hmac
import json
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, update

from smsfilter.cases import assigning
from smsfilter.cases.assigning import Assigning
from smsfilter.cases.escalating import DAILY_HOUR, Escalating
from smsfilter.cases.figures import CaseMetrics
from smsfilter.cases.warning import Warnings
from smsfilter.cases.webhook import SIGNATURE, Webhook
from smsfilter.flow.clock import Warned
from smsfilter.ledger.actor import system
from smsfilter.peopleconfig import WebhookConfig
from smsfilter.reports.replies import Replies
from smsfilter.staff.roster import Rosters
from smsfilter.store.schema import case_file, duty, hook_out, staff, warning
from smsfilter.store.transaction import Transaction
from tests.fakes.bureau import ANNA, BERT, CARL, HOUR, Bureau
from tests.fakes.handset import GSM

SPAM = "10657555*you have won"
PHONES = {"li": "8613700000001", "su": "8613700000002", "hu": "8613700000003"}


class Watch:
    """The desk's clock over a bureau, whose people are a clerk, a supervisor and headquarters."""

    def __init__(self, bureau: Bureau, *, hooked: bool = False) -> None:
        self.bureau = bureau
        self.monotonic = 0
        for name, role in (("li", "clerk"), ("su", "supervisor"), ("hu", "headquarters")):
            self.hire(name, role)
        self.hooked = hooked
        self.begin()

    def begin(self) -> None:
        """Begin anew, as after a restart."""
        rosters = Rosters(self.bureau.office)
        texts = Replies.model_validate({})
        self.warnings = Warnings(self.bureau.vault, texts, hooked=self.hooked)
        self.assigning = Assigning(self.bureau.office, rosters)
        self.metrics = CaseMetrics()
        self.escalating = Escalating(
            self.bureau.office, rosters, self.warnings, self.metrics, lambda: self.monotonic
        )

    def do(self, step: Any) -> Any:
        return self.bureau.writer.submit(step).result()

    def hire(self, name: str, role: str) -> None:
        sealed = self.bureau.vault.close(PHONES[name].encode(), "staff", "phone_enc", name)

        def step(transaction: Transaction) -> None:
            values = {"id": name, "person": f"p-{name}", "name": name, "branch": "hq"}
            values |= {"roles": role, "state": "active", "added_by": "test", "changed_seq": 0}
            transaction.connection.execute(
                insert(staff).values(**values, phone_enc=sealed, added_at=transaction.now)
            )
            transaction.enter("staff added", system("test"), touches=[(staff, name)])

        self.do(step)

    def plan(
        self, name: str, kind: str, hours: int, cover: str | None = None, after: int = 0
    ) -> None:
        def step(transaction: Transaction) -> None:
            now = transaction.now + after * HOUR
            new = transaction.connection.execute(
                insert(duty).returning(duty.c.id),
                {"staff": name, "kind": kind, "from_at": now, "to_at": now + hours * HOUR}
                | {"cover": cover, "by": "test", "changed_seq": 0},
            ).scalar_one()
            transaction.enter("duty planned", system("test"), touches=[(duty, new)])

        self.do(step)

    def later(self, hours: float) -> None:
        """Time goes by, on both clocks."""
        self.bureau.later(int(hours * HOUR))
        self.monotonic += int(hours * HOUR)

    async def look(self) -> None:
        """What the desk does each second."""
        await self.assigning.look()
        await self.escalating.look()

    @property
    def owners(self) -> list[str | None]:
        return [row.owner for row in self.bureau.cases]

    def warned(self, *, daily: bool = False) -> list[tuple[str, str, str]]:
        return [
            (row.kind, row.about, row.staff)
            for row in self.bureau.rows(warning)
            if daily or row.kind != Warned.DAILY
        ]


@pytest.fixture
def watch(bureau: Bureau) -> Watch:
    return Watch(bureau)


async def test_a_case_is_whoever_s_is_on_duty(watch: Watch):
    watch.plan("li", "on", 10)
    await watch.bureau.says(ANNA, SPAM)
    await watch.look()
    assert watch.owners == ["li"]
    (entry,) = watch.bureau.acts("case assigned")
    assert (entry.detail["owner"], entry.detail["why"]) == ("li", "on duty")
    assert entry.actor == "system:rota"
    await watch.look()
    assert len(watch.bureau.acts("case assigned")) == 1


async def test_nobody_on_duty_is_the_supervisor_s_and_then_headquarters(watch: Watch):
    await watch.bureau.says(ANNA, SPAM)
    await watch.look()
    assert watch.owners == ["su"]
    watch.plan("su", "absent", 10)
    await watch.look()
    assert watch.owners == ["hu"]


async def test_the_cases_of_whoever_is_away_go_to_the_cover(watch: Watch):
    watch.plan("li", "on", 10)
    await watch.bureau.says(ANNA, SPAM)
    await watch.bureau.says(BERT, SPAM)
    await watch.look()
    watch.plan("li", "absent", 5, "hu")
    await watch.look()
    assert watch.owners == ["hu", "hu"]
    assert {each.detail["why"] for each in watch.bureau.acts("case assigned")[2:]} == {
        "covers for li"
    }
    await watch.bureau.says(CARL, SPAM)
    await watch.look()
    assert watch.owners[2] == "su"  # the cover is no clerk, so the supervisor of the hour has it


async def test_an_absence_that_begins_by_itself_is_noticed(watch: Watch):
    watch.plan("li", "on", 10)
    watch.plan("li", "absent", 5, "hu", after=2)
    await watch.bureau.says(ANNA, SPAM)
    await watch.look()
    await watch.look()
    assert watch.owners == ["li"]
    watch.later(2)
    await watch.look()
    assert watch.owners == ["hu"]


async def test_what_stands_as_it_did_is_not_looked_at_again(watch: Watch, monkeypatch):
    await watch.bureau.says(ANNA, SPAM)
    await watch.assigning.look()
    assert await watch.assigning.look() == 0

    def read(*_: Any) -> None:
        raise AssertionError("nothing has changed")

    with monkeypatch.context() as patched:
        patched.setattr(assigning, "reading", read)
        assert await watch.assigning.look() == 0
    await watch.bureau.says(BERT, SPAM)
    assert await watch.assigning.look() == 1


async def test_the_cases_of_whoever_leaves_are_given_to_others(watch: Watch):
    watch.plan("li", "on", 10)
    await watch.bureau.says(ANNA, SPAM)
    await watch.look()

    def leave(transaction: Transaction) -> None:
        transaction.connection.execute(update(staff).where(staff.c.id == "li").values(state="left"))
        transaction.enter("staff left", system("test"), touches=[(staff, "li")])

    watch.do(leave)
    await watch.look()
    assert watch.owners == ["su"]


async def test_the_clock_warns_at_36_hours_and_at_48(watch: Watch):
    await watch.bureau.says(ANNA, SPAM)
    await watch.look()
    watch.later(35.9)
    await watch.look()
    assert watch.warned() == []
    watch.later(0.1)
    await watch.look()
    assert watch.warned() == [("due_soon", "case:1", "su")]
    watch.later(12)
    await watch.look()
    await watch.look()
    assert watch.warned()[1:] == [("breach", "case:1", "hu")]
    texts = [text for text in await watch.bureau.sends() if "48小时" in text and "举报中心" in text]
    assert len(texts) == 2
    sent = {each.destination for each in watch.bureau.centre.sent}
    assert {PHONES["su"], PHONES["hu"]} <= sent
    for row in watch.bureau.rows(warning):
        assert ANNA not in row.about


async def test_a_restart_neither_forgets_nor_repeats_a_warning(watch: Watch):
    await watch.bureau.says(ANNA, SPAM)
    watch.later(36)
    await watch.look()
    before = watch.warned()
    watch.bureau.reopen()
    watch.begin()
    await watch.look()
    assert watch.warned() == before != []
    watch.bureau.reopen()
    watch.later(12)
    watch.begin()
    await watch.look()
    assert ("breach", "case:1", "hu") in watch.warned()


async def test_many_that_are_late_at_once_are_one_sms(watch: Watch):
    for number in (ANNA, BERT, CARL):
        await watch.bureau.says(number, SPAM)
    watch.later(36)
    await watch.look()
    rows = [row for row in watch.bureau.rows(warning) if row.kind == "due_soon"]
    assert len(rows) == 3
    assert len({row.sms_out for row in rows}) == 1
    assert any("3件" in text for text in await watch.bureau.sends())


async def test_an_answered_case_is_not_warned_of(watch: Watch):
    await watch.bureau.says(ANNA, SPAM)

    def answered(transaction: Transaction) -> None:
        values = {"state": "replied", "closed_at": transaction.now, "replied_at": transaction.now}
        transaction.connection.execute(update(case_file).values(values))
        transaction.enter("case replied", system("test"), touches=[(case_file, 1)])

    watch.do(answered)
    watch.later(60)
    await watch.look()
    assert watch.warned() == []


async def test_a_clock_that_jumps_holds_the_warnings_and_no_block(watch: Watch):
    await watch.bureau.says(ANNA, SPAM)
    await watch.look()
    watch.bureau.later(49 * HOUR)  # the wall clock alone
    await watch.look()
    assert watch.warned() == []
    assert watch.metrics.held
    await watch.bureau.says(BERT, SPAM)
    assert watch.bureau.in_force == {(ANNA, "acme"), (BERT, "acme")}
    watch.bureau.later(-49 * HOUR)
    await watch.look()
    assert not watch.metrics.held
    assert watch.warned() == []
    assert [each.action for each in watch.bureau.acts("escalations held")] == ["escalations held"]
    assert len(watch.bureau.acts("escalations resumed")) == 1


async def test_a_case_that_nobody_can_own_is_told_after_two_hours(bureau: Bureau):
    watch = Watch(bureau)

    def only_auditors(transaction: Transaction) -> None:
        change = update(staff).where(staff.c.id != "hu").values(roles="auditor")
        transaction.connection.execute(change)
        change = update(staff).where(staff.c.id == "hu").values(roles="auditor headquarters")
        transaction.connection.execute(change)
        transaction.enter("roles", system("test"), touches=[(staff, "hu")])

    watch.do(only_auditors)
    await bureau.says(ANNA, SPAM)
    watch.later(2)
    await watch.escalating.look()  # before anybody was given it
    assert watch.warned() == [("unassigned", "case:1", "hu")]


async def test_headquarters_has_its_list_each_morning_once(watch: Watch):
    await watch.bureau.says(ANNA, SPAM)
    watch.later(48 + 24)
    zone = watch.escalating._zone
    moment = datetime.fromtimestamp(watch.bureau.now / 1e6, zone)
    watch.later((DAILY_HOUR - 1 - moment.hour) % 24)
    await watch.look()
    assert not [each for each in watch.warned(daily=True) if each[0] == "daily"]
    watch.later(1.1)
    await watch.look()
    await watch.look()
    day = datetime.fromtimestamp(watch.bureau.now / 1e6, zone).date()
    daily = [each for each in watch.warned(daily=True) if each[0] == "daily"]
    assert daily == [("daily", f"day:{day}", "hu")]
    watch.later(24)
    await watch.look()
    assert len([each for each in watch.warned(daily=True) if each[0] == "daily"]) == 2


async def test_a_receipt_for_staff_s_sms_is_kept_and_no_report(watch: Watch):
    await watch.bureau.says(ANNA, SPAM)
    watch.later(36)
    await watch.look()
    await watch.bureau.sends()
    (sms,) = [row for row in watch.bureau.sms if row.staff == "su"]
    assert sms.state == "sent"
    text = f"id:{sms.message_id} sub:001 dlvrd:001 stat:DELIVRD err:000 text:"
    message = watch.bureau.message(PHONES["su"], text.encode(), GSM, esm_class=0x04)
    await watch.bureau.takes(message)
    (sms,) = [row for row in watch.bureau.sms if row.staff == "su"]
    assert sms.state == "delivered"
    assert len(watch.bureau.reports) == 1


# --- the webhook


class Receiver:
    """Another program that is told; answers as it was told to."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.heard: list[tuple[str | None, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.heard.append((self.headers.get(SIGNATURE), body))
                status = outer.statuses.pop(0) if outer.statuses else 204
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


async def told(bureau: Bureau, url: str, secret: Any = None) -> None:
    webhook = Webhook(bureau.office, WebhookConfig(url=url, secret_file=secret))
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False) as http:
        while await webhook.look(http):
            pass


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


async def test_a_webhook_is_told_signed_and_tried_again(bureau: Bureau, receiver, tmp_path):
    watch = Watch(bureau, hooked=True)
    await bureau.says(ANNA, SPAM)
    watch.later(36)
    await watch.look()
    (tmp_path / "secret").write_text("s3cret\n")
    receiver.statuses = [500, 302]
    await told(bureau, receiver.url, tmp_path / "secret")
    (row,) = [each for each in bureau.rows(hook_out) if each.kind == "due_soon"]
    assert (row.state, row.attempts, row.status) == ("queued", 1, 500)
    for _ in range(2):
        watch.later(1)
        await told(bureau, receiver.url, tmp_path / "secret")
    (row,) = [each for each in bureau.rows(hook_out) if each.kind == "due_soon"]
    assert (row.state, row.status) == ("sent", 204)
    signature, body = receiver.heard[-1]
    assert signature == "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert json.loads(receiver.heard[0][1])["about"] == "case:1"
    assert ANNA.encode() not in b"".join(body for _, body in receiver.heard)


async def test_a_webhook_that_is_not_there_is_given_up_after_a_day(bureau: Bureau):
    watch = Watch(bureau, hooked=True)
    await bureau.says(ANNA, SPAM)
    watch.later(36)
    await watch.look()
    for _ in range(40):
        await told(bureau, "http://127.0.0.1:1/nobody")
        watch.later(1)
    assert {row.state for row in bureau.rows(hook_out)} == {"given_up"}
    assert bureau.acts("webhook told")
