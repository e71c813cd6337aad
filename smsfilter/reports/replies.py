"""What customers are answered by SMS: texts of `replies.yaml`, each sure to fit one message.

A text is checked when it is loaded, with the longest number of a report and the longest outcome in
it. An SMS holds 160 characters of GSM 03.38 or 70 of UCS-2 (3GPP TS 23.038 §4); which of the two it
is, is told by the text. Only `blocked` says that a company is blocked.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator

from smsfilter.reports.ids import WIDTH_MAX
from smsfilter.rules.policy import Model
from smsfilter.smpp.errors import PDUError
from smsfilter.smpp.text import GSM, UCS_2, encode_text
from smsfilter.wording import suggestion
from smsfilter.yamlfile import load_yaml

OUTCOME_MAX: Final = 26
"""Characters of an outcome, such as "not spam"."""

_COUNT_MAX: Final = 9
"""Digits of a count of cases, or of the id of one, in what staff are told."""

GSM_MAX: Final = 160
UCS_2_MAX: Final = 70

_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_PLACES: Final = ("id", "outcome")


def encode(text: str) -> tuple[int, bytes]:
    """Return data_coding and octets of a text: GSM 03.38 where that holds it, else UCS-2."""
    try:
        return GSM, encode_text(GSM, text)
    except PDUError:
        return UCS_2, encode_text(UCS_2, text)


def size(text: str) -> tuple[int, int]:
    """Return how many characters a text has, and how many one SMS with such a text holds.

    Characters of the extension table of GSM 03.38 count as two, as do those beyond UCS-2.
    """
    data_coding, octets = encode(text)
    return (len(octets), GSM_MAX) if data_coding == GSM else (len(octets) // 2, UCS_2_MAX)


def excess(text: str) -> int:
    """How many characters a text is too long for one SMS; 0 where it fits."""
    length, most = size(text)
    return max(0, length - most)


def _checked(text: str) -> str:
    for name in _PLACE.findall(text):
        if name not in _PLACES:
            near = suggestion(name, _PLACES, "there are")
            raise ValueError(f"unknown placeholder {{{name}}}{near}")
    if {"{", "}"} & set(_PLACE.sub("", text)):
        raise ValueError("a brace that belongs to no placeholder; there are {id}, {outcome}")
    if not text:
        raise ValueError("an empty text cannot be sent")
    longest = text.replace("{id}", "0" * WIDTH_MAX)
    data_coding, _ = encode(longest.replace("{outcome}", ""))
    longest = longest.replace("{outcome}", ("€" if data_coding == GSM else "字") * OUTCOME_MAX)
    if over := excess(longest):
        most = f"{GSM_MAX} of GSM 03.38" if data_coding == GSM else f"{UCS_2_MAX} of UCS-2"
        raise ValueError(f"does not fit one SMS ({most}): {over} too many with the longest {{id}}")
    return text


def _without_outcome(text: str) -> str:
    if "{outcome}" in text:
        raise ValueError("{outcome} is known in 'result' only")
    return text


def _with_outcome(text: str) -> str:
    if "{outcome}" not in text:
        raise ValueError("needs {outcome}, else it says nothing")
    return text


def _short(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError("is put in place of {outcome} as it is: no braces")
    return text


Text = Annotated[str, AfterValidator(_checked), AfterValidator(_without_outcome)]
OutcomeText = Annotated[str, Field(min_length=1, max_length=OUTCOME_MAX), AfterValidator(_short)]
ResultText = Annotated[str, AfterValidator(_checked), AfterValidator(_with_outcome)]


def _for_staff(*places: str) -> AfterValidator:
    """Hold that a text has these places alone, and fits one SMS with each at its longest."""

    def checked(text: str) -> str:
        unknown = [name for name in _PLACE.findall(text) if name not in places]
        if unknown or {"{", "}"} & set(_PLACE.sub("", text)):
            there = ", ".join(f"{{{name}}}" for name in places)
            raise ValueError(f"an unknown placeholder, or a brace that belongs to none; {there}")
        if over := excess(_PLACE.sub("0" * _COUNT_MAX, text)):
            raise ValueError(f"does not fit one SMS: {over} characters too many")
        return text

    return AfterValidator(checked)


StaffText = Annotated[str, Field(min_length=1), _for_staff("count", "case")]
DailyText = Annotated[str, Field(min_length=1), _for_staff("count", "due")]


class Outcome(StrEnum):
    """What has become of a message to the centre; each has its text."""

    BLOCKED = "blocked"
    SOURCE_ONLY = "source_only"
    REFERRED = "referred"
    UNMATCHED = "unmatched"
    NEVER_BLOCK = "never_block"
    ASK_NUMBER = "ask_number"
    REPEATED = "repeated"
    WITHDRAWN = "withdrawn"
    UNKNOWN_ID = "unknown_id"
    APPEAL = "appeal"
    RESULT = "result"
    NONSENSE = "nonsense"


class Outcomes(Model):
    """What a case may come to, in the words of the operator; they stand for {outcome}."""

    model_config = ConfigDict(validate_default=True)

    upheld: OutcomeText = Field("经核查属实，已按垃圾短信处理", description="it was spam")
    not_spam: OutcomeText = Field("经核查不属于垃圾短信", description="it was none")
    unresolvable: OutcomeText = Field(
        "经核查未能查明发送方", description="nobody can say who sent it"
    )
    referred: OutcomeText = Field(
        "不经本平台发送，已转交有关方面处理", description="somebody else has to deal with it"
    )


class StaffTexts(Model):
    """What staff are told by SMS, with {count} and {case}: never a customer's number."""

    model_config = ConfigDict(validate_default=True)

    unassigned: StaffText = Field(
        "举报中心：{count}件举报无人受理，首件{case}，请立即安排。",
        description="nobody owns a case after two hours",
    )
    due_soon: StaffText = Field(
        "举报中心：{count}件举报即将到48小时仍未回复，首件{case}，请督办。",
        description="to the supervisor: a case is not answered, and has to be soon",
    )
    breach: StaffText = Field(
        "举报中心：{count}件举报超过48小时未回复，首件{case}，请立即处理。",
        description="to the branch head: a customer was not answered in time",
    )
    daily: DailyText = Field(
        "举报中心日报：昨日超时{count}件，今日到期{due}件。",
        description="to headquarters each morning; has {due} too",
    )

    def text(self, kind: str, *, count: int, case: int | None = None, due: int = 0) -> str:
        """Return the text of a warning, filled in."""
        template: str = getattr(self, kind)
        filled = template.replace("{count}", str(count)).replace("{due}", str(due))
        return filled.replace("{case}", str(case))


class Replies(Model):
    """`replies.yaml`."""

    model_config = ConfigDict(validate_default=True)

    blocked: Text = Field(
        "举报已受理，编号{id}。该企业已不能再向您发送短信，48小时内回复处理结果。回复“撤销{id}”可撤回。",
        description="the company is blocked for this customer",
    )
    source_only: Text = Field(
        "举报已受理，编号{id}。该号码已不能再向您发短信，48小时内回复处理结果。回复“撤销{id}”可撤回。",
        description="the number is blocked; whose it is, a person has to find out",
    )
    referred: Text = Field(
        "举报已受理，编号{id}。该号码的短信不经本平台发送，已转交核查，48小时内回复处理结果。",
        description="a handset, or a number that never came this way: nothing is blocked",
    )
    unmatched: Text = Field(
        "举报已收到，编号{id}。正在查找发送方，48小时内回复处理结果。回复“撤销{id}”可撤回。",
        description="who sent it is still looked for: nothing is blocked yet",
    )
    never_block: Text = Field(
        "编号{id}：您举报的是紧急或公共服务号码，不能屏蔽。如怀疑有人冒用，请勿点击短信中的链接。",
        description="a number of `never_block`, which has to reach everybody",
    )
    ask_number: Text = Field(
        "未识别被举报号码，请回复：号码*短信内容。编号{id}",
        description="a text without a number: the customer is asked for it",
    )
    repeated: Text = Field(
        "您已举报过，编号{id}，正在处理，无需重复发送。48小时内回复处理结果。",
        description="the same report again, or another one while its case is open",
    )
    withdrawn: Text = Field(
        "编号{id}的举报已撤回，因该举报设置的屏蔽已解除。如再收到垃圾短信，欢迎再次举报。",
        description="withdrawn by the customer; the block has ended",
    )
    unknown_id: Text = Field(
        "没有找到您所说的举报，请核对编号后重新发送，例如：撤销加编号，或申诉加编号。",
        description="a withdrawal or an appeal with a number that is none of this customer's",
    )
    appeal: Text = Field(
        "编号{id}的申诉已受理，将由另一位工作人员复核，48小时内回复结果。",
        description="the appeal has been entered",
    )
    result: ResultText = Field(
        "编号{id}处理结果：{outcome}。如有异议请回复“申诉{id}”。",
        description="what the case has come to",
    )
    nonsense: Text = Field(
        "未能识别您发送的内容。举报垃圾短信请发送：被举报号码*短信内容。",
        description="a message that says nothing",
    )
    outcomes: Outcomes = Field(
        default_factory=Outcomes, description="the words for what a case has come to"
    )

    staff: StaffTexts = Field(
        default_factory=StaffTexts, description="what staff are warned of by SMS"
    )

    @field_validator("outcomes")
    @classmethod
    def _fitting(cls, value: Outcomes, info: ValidationInfo) -> Outcomes:
        """Each has to fit with `result`: one word of another alphabet makes all of it UCS-2."""
        result = info.data.get("result", "")
        for name, words in value:
            whole = result.replace("{id}", "0" * WIDTH_MAX).replace("{outcome}", words)
            if over := excess(whole):
                raise ValueError(f"{name}: `result` does not fit one SMS with it: {over} too many")
        return value

    def text(self, outcome: Outcome, *, id: str = "", result: str = "") -> str:
        """Return the reply, filled in; raise ValueError where it no longer fits one SMS.

        `id` is a report's number as spelled for customers, `result` the outcome of its case.
        """
        template: str = getattr(self, outcome)
        text = template.replace("{id}", id).replace("{outcome}", result)
        if len(id) > WIDTH_MAX or len(result) > OUTCOME_MAX or excess(text):
            raise ValueError(f"the reply '{outcome}' does not fit one SMS")
        return text

    def result_text(self, outcome: str, id: str) -> str:
        """Return what a customer is told of a case: `outcome` is one of flow/case.py."""
        return self.text(Outcome.RESULT, id=id, result=getattr(self.outcomes, outcome))


def load_replies(path: Path | str) -> Replies:
    """Read `replies.yaml`. Raises ConfigError."""
    return load_yaml(Path(path), Replies)
