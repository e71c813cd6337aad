"""What people see of the demo: frames and the end, as text."""

import io

import pytest
from rich.console import Console, RenderableType

from smsfilter.cli.demo.handset import Shown
from smsfilter.cli.demo.summary import Count, Line, Phase, summarise
from smsfilter.cli.demo.view import Frame, LiveView, PlainView, ending, picture, table, told
from smsfilter.rules.verdict import Reason


def console(width: int, *, terminal: bool = False) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=30, force_terminal=terminal, color_system=None
    )


def written(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def text(renderable: RenderableType, width: int) -> list[str]:
    to = console(width)
    to.print(renderable)
    return [line.rstrip() for line in written(to).splitlines()]


SPAM = Shown("1065755501", "Message 7 of acme, sent before the report")
REPORT = Shown("10086999", f"{SPAM.peer}*{SPAM.text}", is_own=True)
ANSWER = Shown("10086999", "Report 13: this company cannot text you any more.")


def frame(now: float, *, reported: bool) -> Frame:
    closed = Count(1500, refused=1500) if reported else Count()

    def line(company: str, road: str, account: str, customer: str, status: int | None) -> Line:
        accused, one = company == "Acme", customer.startswith("138")
        after = closed if accused and one else Count(1500, forwarded=1500)
        return Line(
            company,
            company != "Corner Shop",
            road,
            account,
            customer,
            accused,
            one,
            (Count(1000, forwarded=1000), after if reported else Count(), Count(), Count()),
            status,
        )

    last = 0x66 if reported else 0
    lines = [
        line("Acme", "own account acme", "acme", "138****8000", last),
        line("Acme", "own account acme", "acme", "3 others", 0),
        line("Acme", "account acme2 as Ａcme", "acme2", "138****8000", None),
        line("Acme", "account acme2 as Ａcme", "acme2", "3 others", 0),
        line("Corner Shop", "own account corner", "corner", "138****8000", 0x0A),
    ]
    return Frame(
        proxy="127.0.0.1:54321",
        smsc="127.0.0.1:54322",
        company="Acme",
        customer="138****8000",
        now=now,
        report=4.8,
        end=12.0,
        phase=Phase.AFTER if reported else Phase.BEFORE,
        is_over=False,
        newest=SPAM,
        story=[SPAM, REPORT, ANSWER] if reported else [],
        clerk=[],
        lines=lines,
        reasons={
            ("acme", 0x66): Reason.BLOCKED_BY_REPORT,
            ("corner", 0x0A): Reason.SENDER_NOT_APPROVED,
        },
    )


# the picture


def test_the_picture_tells_what_will_happen() -> None:
    lines = text(picture(frame(2.5, reported=False), 80), 80)
    assert lines[0].startswith("smsfilter demo")
    assert lines[0].endswith("0:02 of 0:12")
    assert lines[1].startswith("senders → smsfilter proxy 127.0.0.1:54321 → simulated SMSC")
    assert "At 0:04 the customer 138****8000 will report Acme by SMS." in lines
    assert lines[-2:] == ["The handset of 138****8000:", f"  from {SPAM.peer}: {SPAM.text}"]


def test_the_picture_tells_what_has_happened() -> None:
    lines = text(picture(frame(6, reported=True), 80), 80)
    assert "138****8000 has reported Acme to 10086999." in lines
    assert any("Every road of Acme to that customer is closed" in line for line in lines)
    assert lines[-3:] == [
        f"  from {SPAM.peer}: {SPAM.text}",
        f"  to 10086999: {REPORT.text}",
        f"  from 10086999: {ANSWER.text}",
    ]


def test_the_picture_tells_what_the_clerk_has_made_of_it() -> None:
    decided = {
        "case": 1,
        "outcome": "upheld",
        "rule": "sent_by_company",
        "records": ["record:p/1/7"],
    }
    line = "The clerk decides case 1: upheld (sent_by_company: record:p/1/7)"
    assert told(decided) == line
    lines = text(picture(frame(6, reported=True)._replace(clerk=["before", line]), 80), 80)
    assert lines[-1] == line
    assert lines[-2] == f"  from 10086999: {ANSWER.text}"
    assert (
        told(decided | {"rule": "", "records": []}) == "The clerk decides case 1: upheld (no rule)"
    )


def test_the_picture_tells_that_it_was_taken_back() -> None:
    lines = text(picture(frame(9, reported=True)._replace(phase=Phase.AGAIN), 80), 80)
    assert "138****8000 has taken the report back." in lines
    assert "Every road of Acme to that customer is open again." in lines


def test_the_picture_tells_of_the_end() -> None:
    lines = text(picture(frame(12, reported=True)._replace(is_over=True), 80), 80)
    assert "The ledger of the desk is exported and verified." in lines


def test_a_long_text_of_the_handset_is_cut_to_its_line() -> None:
    long = ANSWER._replace(text="word " * 40)
    lines = text(picture(frame(6, reported=True)._replace(story=[SPAM, long]), 80), 80)
    assert len(lines[-1]) == 80
    assert lines[-1].endswith("…")


def test_the_whole_picture_of_ten_lines_fits_into_24() -> None:
    shown = frame(6, reported=True)
    companies = ["Acme"] * 6 + ["Bravo Bank"] * 2 + ["Corner Shop"] * 2
    full = [shown.lines[0]._replace(company=company) for company in companies]
    story = [SPAM, REPORT, ANSWER, REPORT, ANSWER]
    assert len(text(picture(shown._replace(lines=full, story=story), 80), 80)) <= 24
    shown = shown._replace(clerk=["The clerk decides"])
    assert len(text(picture(shown._replace(lines=full, story=story), 80), 80)) <= 24


@pytest.mark.parametrize("width", [80, 103, 104, 120, 200])
def test_no_row_is_folded_or_cut(width: int) -> None:
    shown = text(table(frame(6, reported=True), width), width)
    assert len(shown) == 2 + 2 + 5, "head, rule, two companies, five lines"
    assert not any("…" in line for line in shown)
    assert "  account acme2 as Ａcme" in shown[5]
    assert [line for line in shown if "blocked_by_report" in line]


def test_the_name_of_the_status_stands_where_there_is_room() -> None:
    wide = "\n".join(text(table(frame(6, reported=True), 104), 104))
    narrow = "\n".join(text(table(frame(6, reported=True), 103), 103))
    assert "0x66 ESME_RX_R_APPN blocked_by_report" in wide
    assert "0x66 blocked_by_report" in narrow


def test_a_status_without_a_reason_has_its_name() -> None:
    shown = "\n".join(text(table(frame(6, reported=True)._replace(reasons={}), 80), 80))
    assert "0x66 ESME_RX_R_APPN" in shown


def test_a_row_says_the_sum_of_before_and_after() -> None:
    row = text(table(frame(6, reported=True), 80), 80)[3].split()
    assert row[-5:] == ["138****8000", "1,000", "1,500", "0x66", "blocked_by_report"]


@pytest.mark.parametrize("width", [1, 20, 40, 60])
def test_a_narrow_terminal_is_no_error(width: int) -> None:
    shown = text(picture(frame(6, reported=True), width), width)
    assert max(map(len, shown)) <= width


# views


def test_plain_lines_come_once_a_second_and_when_something_happens() -> None:
    to = console(100)
    view = PlainView(to)
    for tenth in range(25):
        view.show(frame(tenth / 10, reported=tenth >= 12))
    view.close()
    lines = written(to).splitlines()
    assert lines[0].startswith("smsfilter demo: senders → smsfilter proxy")
    assert sum("has reported" in line for line in lines) == 1
    told = [line for line in lines if "the handset of" in line]
    assert told == [
        f"0:01  the handset of 138****8000, from {SPAM.peer}: {SPAM.text}",
        f"0:01  the handset of 138****8000, to 10086999: {REPORT.text}",
        f"0:01  the handset of 138****8000, from 10086999: {ANSWER.text}",
    ]
    clocks = [line[:4] for line in lines if line[6:].startswith("Acme to")]
    assert clocks == ["0:00", "0:01", "0:02"]
    assert lines[-2] == (
        "0:02  Acme to 138****8000: 2,000 forwarded, 3,000 refused;"
        " all others: 7,500 forwarded, 0 refused"
    )
    assert lines[-1] == ""
    assert "\x1b" not in written(to)


def test_the_live_view_draws_in_place_and_clears_it() -> None:
    to = console(80, terminal=True)
    view = LiveView(to)
    view.show(frame(1, reported=False))
    view.show(frame(6, reported=True))
    view.close()
    shown = written(to)
    assert shown.index("0:01 of 0:12") < shown.index("0:06 of 0:12")
    assert "\x1b[2K" in shown, "the line before is erased"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is given back"


# the end


def test_the_end_names_what_was_broken() -> None:
    summary = summarise(frame(6, reported=True).lines)
    broken = [promise.text for promise in summary.promises if not promise.held]
    assert broken == ["Acme to 138****8000: open again", "Corner Shop, not approved: closed"]
    shown = text(ending(summary, ""), 80)
    for promise in summary.promises:
        word = "ok" if promise.held else "BROKEN"
        assert [line for line in shown if line.startswith(word) and promise.text in line]


def test_the_end_has_a_line_of_the_log_as_a_witness() -> None:
    summary = summarise(frame(6, reported=True).lines)
    shown = text(ending(summary, "event=refused account=resell7"), 80)
    assert shown[-1] == "event=refused account=resell7"
    assert "log" not in "\n".join(text(ending(summary, ""), 80))
