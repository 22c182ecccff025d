"""Samples of rules: what they show, and what is said where they do not hold."""

from __future__ import annotations

import pytest

from mitmgate.errors import ConfigError
from mitmgate.policy.models import RulesFile
from mitmgate.policy.samples import sample_problems
from mitmgate.strictyaml import load, load_model

LONG = "where: {/arguments/q: {min_length: 41}}"
LATER = "where: {/arguments/list/1: {min_length: 41}}"
OF_RESULTS = "phase: result, where: {/structuredContent/text: {min_length: 41}}"
QUERY = "{tool: t, arguments: {q: x}"


def told(rule: str, kind: str, sample: str) -> list[str]:
    """Return what is said of one *sample* of a rule for the tool ``t``."""
    text = (
        "version: 1\n"
        f"mcp: {{rules: [{{id: r, tool: t, then: ask, {rule}, samples: {{{kind}: [{sample}]}}}}]}}"
    )
    file = load_model(RulesFile, text, file="p")
    return [problem.message for problem in sample_problems(load(text, file="p"), file)]


def repeat(at: str, times: int, text: str = "ab") -> str:
    return f"repeat: {{at: {at}, text: {text}, times: {times}}}}}"


# sentence: the rule, match or other, the sample, what is said of it
CASES = {
    "a sample that matches": (LONG, "match", f"{QUERY}, {repeat('/arguments/q', 20)}", None),
    "one letter less": (LONG, "match", f"{QUERY}, {repeat('/arguments/q', 40, 'a')}", None),
    "too short": (LONG, "match", f"{QUERY}, {repeat('/arguments/q', 19)}", "should match"),
    "too short, as it should be": (LONG, "other", f"{QUERY}, {repeat('/arguments/q', 19)}", None),
    "too long": (LONG, "other", f"{QUERY}, {repeat('/arguments/q', 20)}", "should not match"),
    "an item of a list": (
        LATER, "match",
        f"{{tool: t, arguments: {{list: [x, y, 3]}}, {repeat('/arguments/list/1', 20)}", None),
    "another item of the list": (
        LATER, "other",
        f"{{tool: t, arguments: {{list: [x, y, z]}}, {repeat('/arguments/list/2', 20)}", None),
    "all params": (
        LONG, "match",
        f"{{params: {{name: t, arguments: {{q: x}}}}, {repeat('/arguments/q', 20)}", None),
    "a result": (
        OF_RESULTS, "match",
        f"{{tool: t, result: {{structuredContent: {{text: x}}}}, "
        f"{repeat('/structuredContent/text', 20)}", None),
    "the arguments, of a rule for results": (
        OF_RESULTS, "other", f"{QUERY}, result: {{}}, {repeat('/arguments/q', 20)}",
        "finds no text at /arguments/q"),
    "nothing there": (LONG, "match", f"{QUERY}, {repeat('/arguments/p', 20)}", "finds no text"),
    "nothing there on the way": (LONG, "other", f"{QUERY}, {repeat('/a' * 5000, 20)}", "no text"),
    "below a text": (LONG, "match", f"{QUERY}, {repeat('/arguments/q/0', 20)}", "finds no text"),
    "no text there": (LONG, "match", f"{QUERY}, {repeat('/arguments', 20)}", "finds no text"),
    "a wildcard is a name here": (LONG, "match", f"{QUERY}, {repeat('/arguments/*', 20)}",
                                  "finds no text at /arguments/*"),
    "a member named like the wildcard": (
        'where: {"/arguments/*": {min_length: 41}}', "match",
        f"{{tool: t, arguments: {{'*': x}}, {repeat('/arguments/*', 20)}", None),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "kind", "sample", "said"), CASES.values(), ids=CASES)
def test_a_text_repeated_before_a_value(
    rule: str, kind: str, sample: str, said: str | None
) -> None:
    found = told(rule, kind, sample)
    assert len(found) == (said is not None)
    assert all(said and said in message and message.startswith("rule r: ") for message in found)


REFUSED = {
    "nothing to repeat": ("at: /arguments/q, text: '', times: 2", "text: must not be empty"),
    "a long text": (f"at: /a, text: {'a' * 17}, times: 2", "text: String should have at most 16"),
    "never": ("at: /a, text: a, times: 0", "times: must be greater than or equal to 1"),
    "too often": ("at: /a, text: a, times: 100001", "times: must be less than or equal to 100000"),
    "a number in quotes": ("at: /a, text: a, times: '2'", "times: must be a whole number"),
    "no pointer": ("at: arguments, text: a, times: 2", "at: a JSON pointer starts with /"),
    "no place": ("text: a, times: 2", "at: this key is missing"),
}


@pytest.mark.parametrize(("entry", "said"), REFUSED.values(), ids=REFUSED)
def test_repeats_that_are_refused(entry: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"samples\.match\.0\.repeat") as caught:
        told(LONG, "match", f"{QUERY}, repeat: {{{entry}}}}}")
    [problem] = caught.value.problems
    assert said in str(problem)


# sentence: the rule, match or other, the sample, what is said of it
REQUESTS = {
    "a request that matches": ("paths: /a", "match", "url: 'https://h.example/a?b#c'", None),
    "one that does not": (
        "paths: /a", "match", "url: 'https://h.example/b'", "the path is not below /a"),
    "one that should not": ("paths: /a", "other", "url: 'https://h.example/a'", "and it does"),
    "another host": ("methods: GET", "other", "url: 'https://i.example/'", None),
    "another method": (
        "methods: GET", "match", "url: 'https://h.example/', method: POST", "is not GET"),
    "the port of the scheme": ("ports: 80", "match", "url: 'http://h.example/'", None),
    "a port of the URL": ("ports: 22", "match", "url: 'https://h.example:22/'", None),
    "no web port": ("methods: GET", "other", "url: 'https://h.example:22/'", None),
    "a protocol": ("protocol: a2a", "match", "url: 'https://h.example/', protocol: a2a", None),
    "who and when are no part of it": (
        "agent: ci, time: {from: '09:00', to: '09:01'}", "match", "url: 'https://h.example/'",
        None),
    "no URL": ("methods: GET", "match", "url: h.example", "a URL begins with https:// or"),
    "no host": ("methods: GET", "match", "url: 'https://a b/'", "host"),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "kind", "sample", "said"), REQUESTS.values(), ids=REQUESTS)
def test_samples_of_egress_rules(rule: str, kind: str, sample: str, said: str | None) -> None:
    text = (
        "version: 1\negress: {rules: [{id: r, host: h.example, then: allow, "
        f"{rule}, samples: {{{kind}: [{{{sample}}}]}}}}]}}"
    )
    file = load_model(RulesFile, text, file="p")
    found = [problem.message for problem in sample_problems(load(text, file="p"), file)]
    assert len(found) == (said is not None)
    assert all(said and said in message and message.startswith("rule r: ") for message in found)
