"""Whatever is written in a file, reading it gives a model or a ConfigError with places in it."""

import contextlib

from hypothesis import example, given
from hypothesis import strategies as st

from smsfilter.config import Config
from smsfilter.rules.policy import Policy
from smsfilter.yamlfile import ConfigError, Document, Problem, load_yaml

SCALARS = st.sampled_from(
    ["", "~", "null", "'~'", "0", "-1", "0x0B", "86", "off", "NO", "22:00", "10s", "*a", "<<", "{}"]
) | st.text(max_size=8)
KEYS = st.sampled_from([*Policy.model_fields, *Config.model_fields, "id", "type", "status", "<<"])
FLOWS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(KEYS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=12,
)
FILES = st.lists(st.tuples(KEYS, FLOWS), max_size=5).map(
    lambda pairs: "".join(f"{key}: {value}\n" for key, value in pairs)
)


def problems(text: str, model: type[Policy] | type[Config]) -> list[Problem]:
    try:
        load_yaml(text, model)
    except ConfigError as error:
        return error.problems
    return []


@given(FILES | st.text())
@example("a: &a {<<: *a}\n")
@example("accounts: {a: {status: {[x]: 1}}}\n")
@example("rules: [{id: a, type: block, status: [1]}]\n")
def test_reading_raises_nothing_but_config_errors(text: str) -> None:
    lines = len(text.splitlines()) + 1
    for model in (Policy, Config):
        for problem in problems(text, model):
            assert problem.message
            assert 1 <= problem.line <= lines
            assert problem.column >= 1


@given(st.dictionaries(st.text(max_size=12).map("SMSFILTER__{}".format), st.text(max_size=12)))
def test_the_environment_raises_nothing_but_config_errors(environ: dict[str, str]) -> None:
    document = Document("f", "proxy: {listen: 'h:1', smsc: 'h:2'}\nredis: {url: 'embedded:'}\n")

    with contextlib.suppress(ConfigError):
        document.override(environ)
        document.validate(Config)
