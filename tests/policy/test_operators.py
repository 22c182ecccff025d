"""What each operator of ``where`` says about a value: yes, no, or unsure."""

from __future__ import annotations

from typing import Any

import pytest

from mitmgate.policy.conditions import Condition, WhereEntry
from mitmgate.policy.operators import MAX_ITEMS, MAX_TEXT, host_of
from mitmgate.policy.truth import Truth

YES, NO, UNSURE = Truth.YES, Truth.NO, Truth.UNSURE
MEGABYTES = "a" * (8 << 20)
HUGE = 10**400

type Case = tuple[dict[str, Any], Any, Truth]

VALUES: dict[str, Case] = {
    "equals: the same text": ({"equals": "a"}, "a", YES),
    "equals: letter case counts": ({"equals": "a"}, "A", NO),
    "equals: 1 is 1.0": ({"equals": 1}, 1.0, YES),
    "equals: 1 is not true": ({"equals": 1}, True, NO),
    "equals: null is a value": ({"equals": None}, None, YES),
    "equals: false is not null": ({"equals": None}, False, NO),
    "equals: objects have no order": ({"equals": {"a": 1, "b": [2]}}, {"b": [2], "a": 1}, YES),
    "equals: a member more": ({"equals": {"a": 1}}, {"a": 1, "b": 2}, NO),
    "equals: numbers are compared exactly": ({"equals": HUGE}, HUGE + 1, NO),
    "in: one of the texts": ({"in": ["a", "b"]}, "b", YES),
    "in: none of them": ({"in": ["a", "b"]}, "c", NO),
    "in: a part of one": ({"in": ["ab"]}, "a", NO),
    "in: a number, with its type": ({"in": ["1", 2]}, 1, NO),
    "in: a number": ({"in": ["1", 2]}, 2.0, YES),
    "in: true is not 1": ({"in": [1]}, True, NO),
    "in: null": ({"in": [None]}, None, YES),
    "in: an array": ({"in": [[1], "x"]}, [1], YES),
    "in: an item of an array is not asked": ({"in": ["x"]}, ["x"], NO),
    "exists: null exists": ({"exists": True}, None, YES),
    "exists: false exists": ({"exists": True}, False, YES),
    "exists: an object exists": ({"exists": True}, {}, YES),
    "exists: what is there is not missing": ({"exists": False}, None, NO),
    "type: text": ({"type": "string"}, "", YES),
    "type: 1 is an integer": ({"type": "integer"}, 1, YES),
    "type: 1.0 is an integer": ({"type": "integer"}, 1.0, YES),
    "type: 1.5 is none": ({"type": "integer"}, 1.5, NO),
    "type: 1 is a number": ({"type": "number"}, 1, YES),
    "type: true is no number": ({"type": ["number", "integer"]}, True, NO),
    "type: true is boolean": ({"type": "boolean"}, True, YES),
    "type: null": ({"type": "null"}, None, YES),
    "type: one of several": ({"type": ["object", "array"]}, [], YES),
    "type: none of several": ({"type": ["object", "array"]}, "[]", NO),
}

NUMBERS: dict[str, Case] = {
    "gt: greater": ({"gt": 5}, 5.1, YES),
    "gt: equal is not greater": ({"gt": 5}, 5, NO),
    "ge: equal": ({"ge": 5}, 5.0, YES),
    "ge: less": ({"ge": 5}, 4, NO),
    "lt: less": ({"lt": 0.5}, 0, YES),
    "lt: equal is not less": ({"lt": 0.5}, 0.5, NO),
    "le: equal": ({"le": 5}, 5, YES),
    "le: greater": ({"le": 5}, 6, NO),
    "several bounds: between them": ({"gt": 0, "le": 100}, 100, YES),
    "several bounds: outside of one": ({"gt": 0, "le": 100}, 101, NO),
    "gt: true is no number": ({"gt": 0}, True, NO),
    "gt: null is no number": ({"gt": 0}, None, NO),
    "gt: an array is no number": ({"gt": 0}, [1], NO),
    "gt: an integer beyond all floats": ({"gt": 1.5}, HUGE, YES),
    "lt: a negative one": ({"lt": -1e300}, -HUGE, YES),
    "gt: the last digit of a big integer": ({"gt": 2**53}, 2**53 + 1, YES),
    "gt: a float that is no integer's neighbour": ({"gt": 2**53 + 1}, float(2**53), NO),
    "gt: a text that spells a number": ({"gt": 0}, "5", UNSURE),
    "gt: whatever the number is": ({"gt": 10}, " -0x1", UNSURE),
    "gt: a text that spells infinity": ({"gt": 10}, "Infinity", UNSURE),
    "gt: another text": ({"gt": 0}, "five", NO),
    "min_length: characters": ({"min_length": 2}, "äö", YES),
    "min_length: too few characters": ({"min_length": 3}, "äö", NO),
    "min_length: items": ({"min_length": 1}, [None], YES),
    "min_length: members": ({"min_length": 2}, {"a": 1}, NO),
    "max_length: items": ({"max_length": 1}, [1, 2], NO),
    "max_length: members": ({"max_length": 1}, {"a": 1}, YES),
    "max_length: characters beyond the first plane count once": ({"max_length": 1}, "😀", YES),
    "max_length: megabytes": ({"max_length": 100}, MEGABYTES, NO),
    "max_length: a number has no length": ({"max_length": 9}, 1, NO),
    "max_length: null has no length": ({"max_length": 9}, None, NO),
}

TEXTS: dict[str, Case] = {
    "prefix: at the start": ({"prefix": "refs/"}, "refs/heads", YES),
    "prefix: the whole": ({"prefix": "refs/"}, "refs/", YES),
    "prefix: elsewhere": ({"prefix": "refs/"}, "/refs/", NO),
    "prefix: one of several": ({"prefix": ["a", "b"]}, "bc", YES),
    "prefix: letter case counts": ({"prefix": "a"}, "A", NO),
    "prefix: longer than the text": ({"prefix": "abc"}, "ab", NO),
    "prefix: a number is no text": ({"prefix": "1"}, 12, NO),
    "prefix: an array is no text": ({"prefix": "a"}, ["a"], NO),
    "suffix: at the end": ({"suffix": ".env"}, "prod.env", YES),
    "suffix: the whole": ({"suffix": ".env"}, ".env", YES),
    "suffix: elsewhere": ({"suffix": ".env"}, ".env.txt", NO),
    "suffix: one of several": ({"suffix": [".key", ".pem"]}, "a.pem", YES),
    "suffix: megabytes": ({"suffix": "b"}, MEGABYTES, NO),
    "suffix: letter case counts": ({"suffix": "a"}, "A", NO),
    "suffix: null is no text": ({"suffix": "l"}, None, NO),
    "suffix: an object is no text": ({"suffix": "a"}, {"a": "a"}, NO),
    "glob: a star": ({"glob": "release/*"}, "release/1", YES),
    "glob: a star takes slashes and lines": ({"glob": "a*z"}, "a/\nz", YES),
    "glob: the whole text": ({"glob": "release/*"}, "a release/1", NO),
    "glob: a line more": ({"glob": "main"}, "main\n", NO),
    "glob: a question mark is one character": ({"glob": "v?"}, "vö", YES),
    "glob: and not two": ({"glob": "v?"}, "v10", NO),
    "glob: a dot is a dot": ({"glob": "a.b*"}, "axb", NO),
    "glob: one of several, with blanks": ({"glob": ["x", "drop *"]}, "drop table", YES),
    "glob: a number is no text": ({"glob": "*"}, 1, NO),
    "glob: as long as is looked at": ({"glob": "*b"}, "a" * (MAX_TEXT - 1) + "b", YES),
    "glob: longer": ({"glob": "*b"}, "a" * MAX_TEXT + "b", UNSURE),
    "glob: half a surrogate pair": ({"glob": "*b"}, "\ud800", UNSURE),
    "pattern: found anywhere": ({"pattern": "b+"}, "abbc", YES),
    "pattern: not found": ({"pattern": "b+"}, "ac", NO),
    "pattern: anchors are the writer's": ({"pattern": r"^b"}, "a\nb", NO),
    "pattern: letter case is the writer's": ({"pattern": "(?i)B"}, "ab", YES),
    "pattern: one of several": ({"pattern": ["x", "[0-9]"]}, "a1", YES),
    "pattern: letters beyond ASCII": ({"pattern": "^.$"}, "ö", YES),
    "pattern: a number is no text": ({"pattern": "1"}, 1, NO),
    "pattern: an array is no text": ({"pattern": "a"}, ["a"], NO),
    "pattern: as long as is looked at": ({"pattern": "b$"}, "a" * (MAX_TEXT - 1) + "b", YES),
    "pattern: longer, whatever is in it": ({"pattern": "^b"}, MEGABYTES, UNSURE),
    "pattern: more work than a search may be": ({"pattern": "a[ab]{500}c"}, "ab" * 200_000, UNSURE),
    "pattern: more work, but for another one no work at all": (
        {"pattern": ["a[ab]{500}c", "^a"]}, "ab" * 200_000, YES),
    "pattern: half a surrogate pair": ({"pattern": "a"}, "a\ud800", UNSURE),
    "pattern: one that makes others backtrack": ({"pattern": "^(a+)+$"}, "a" * 9999 + "b", NO),
    "contains: a part of a text": ({"contains": "force"}, "--force-push", YES),
    "contains: not a part": ({"contains": "force"}, "--Force", NO),
    "contains: megabytes": ({"contains": "ab"}, MEGABYTES, NO),
    "contains: an item": ({"contains": 1}, ["x", 1.0], YES),
    "contains: true is not the item 1": ({"contains": 1}, [True], NO),
    "contains: an item that is an object": ({"contains": {"a": 1}}, [{"a": 1}], YES),
    "contains: a part of an item is no item": ({"contains": "a"}, ["ab"], NO),
    "contains: a member's name": ({"contains": "force"}, {"force": None}, YES),
    "contains: a member's value is no name": ({"contains": "a"}, {"b": "a"}, NO),
    "contains: a number is in no text": ({"contains": 1}, "1", NO),
    "contains: as many items as are compared": (
        {"contains": 1}, [0] * (MAX_ITEMS - 1) + [1], YES),
    "contains: more items": ({"contains": 1}, [0] * MAX_ITEMS + [1], UNSURE),
    "contains: null in an array": ({"contains": None}, [None], YES),
    "contains: a number holds nothing": ({"contains": 1}, 11, NO),
}  # fmt: skip

PLACES: dict[str, Case] = {
    "path: within": ({"path_within": "/workspace"}, "/workspace/a", YES),
    "path: outside": ({"path_within": "/workspace"}, "/etc/passwd", NO),
    "path: out by dots": ({"path_within": "/workspace"}, "/workspace/../etc", NO),
    "path: within one of several": ({"path_within": ["/a", "/b"]}, "/b/x", YES),
    "path: relative": ({"path_within": "/workspace"}, "a", UNSURE),
    "path: a number in place of text": ({"path_within": "/workspace"}, 1, UNSURE),
    "path: an array in place of text": ({"path_within": "/workspace"}, ["/workspace"], UNSURE),
    "path: null": ({"path_within": "/workspace"}, None, NO),
    "path: false": ({"path_within": "/workspace"}, False, NO),
    "path: megabytes": ({"path_within": "/a"}, "/" + MEGABYTES, UNSURE),
    "host: a URL": ({"host_in": ["example.com"]}, "https://example.com/x?y#z", YES),
    "host: another one": ({"host_in": ["example.com"]}, "https://evil.example/example.com", NO),
    "host: letter case, a port, a final dot": (
        {"host_in": ["example.com"]}, "HTTPS://EXAMPLE.com.:8443", YES),
    "host: alone": ({"host_in": "example.com"}, "example.com", YES),
    "host: with a port": ({"host_in": "example.com"}, "example.com:80", YES),
    "host: below a wildcard": ({"host_in": ["*.example.org"]}, "//a.b.example.org/", YES),
    "host: the apex of a wildcard": ({"host_in": ["*.example.org"]}, "example.org", NO),
    "host: the end of another name": ({"host_in": ["example.com"]}, "notexample.com", NO),
    "host: a name in Unicode": (
        {"host_in": ["xn--bcher-kva.example"]}, "http://Bücher.example", YES),
    "host: user information": (
        {"host_in": ["example.com"]}, "https://example.com@evil.example/", UNSURE),
    "host: a backslash": (
        {"host_in": ["example.com"]}, "https://evil.example\\@example.com", UNSURE),
    "host: a blank": ({"host_in": ["example.com"]}, "https://example.com/ https://x.y", UNSURE),
    "host: an odd address": ({"host_in": ["127.0.0.1"]}, "http://0x7f.1/", UNSURE),
    "host: an address": ({"host_in": ["127.0.0.1"]}, "http://[::ffff:127.0.0.1]:80/", YES),
    "host: a scheme without slashes": ({"host_in": ["example.com"]}, "https:example.com", UNSURE),
    "host: no host": ({"host_in": ["example.com"]}, "file:///etc/passwd", UNSURE),
    "host: nothing": ({"host_in": ["example.com"]}, "", UNSURE),
    "host: a list": ({"host_in": ["example.com"]}, ["example.com"], UNSURE),
    "host: null": ({"host_in": ["example.com"]}, None, NO),
    "host: megabytes": ({"host_in": ["example.com"]}, MEGABYTES, UNSURE),
    "host: a long query": ({"host_in": ["a.b"]}, "http://a.b/?" + MEGABYTES, YES),
    "cidr: an address": ({"cidr": "10.0.0.0/8"}, "10.1.2.3", YES),
    "cidr: another one": ({"cidr": ["10.0.0.0/8", "::1/128"]}, "11.0.0.1", NO),
    "cidr: in a URL": ({"cidr": "169.254.0.0/16"}, "http://169.254.169.254/latest", YES),
    "cidr: mapped into IPv6": ({"cidr": "10.0.0.0/8"}, "http://[::ffff:a00:1]/", YES),
    "cidr: IPv6": ({"cidr": ["fd00::/8"]}, "fd00::1", YES),
    "cidr: a name": ({"cidr": "127.0.0.0/8"}, "localhost", NO),
    "cidr: one number": ({"cidr": "127.0.0.0/8"}, "http://2130706433/", UNSURE),
    "cidr: octal": ({"cidr": "127.0.0.0/8"}, "0177.0.0.1", UNSURE),
    "cidr: a number in place of text": ({"cidr": "127.0.0.0/8"}, 2130706433, UNSURE),
    "cidr: a zone": ({"cidr": "fe80::/10"}, "fe80::1%eth0", UNSURE),
    "cidr: a network inside": ({"cidr": "10.0.0.0/8"}, "10.1.0.0/16", YES),
    "cidr: a network around": ({"cidr": "10.0.0.0/8"}, "0.0.0.0/0", UNSURE),
    "cidr: a network beside": ({"cidr": "10.0.0.0/8"}, "11.0.0.0/8", NO),
    "cidr: a mapped network": ({"cidr": "10.0.0.0/8"}, "::ffff:10.0.0.0/104", UNSURE),
    "cidr: a path behind an address": ({"cidr": "10.0.0.0/8"}, "10.0.0.1/x", YES),
    "cidr: null": ({"cidr": "10.0.0.0/8"}, None, NO),
}  # fmt: skip

COMMANDS: dict[str, Case] = {
    "command: the only one": ({"command": "rm *"}, "rm -rf /", YES),
    "command: unquoted": ({"command": "rm *"}, "r'm' -rf /", YES),
    "command: another one": ({"command": "rm *"}, "ls rm", NO),
    "command: one of two": ({"command": "rm *"}, "ls; rm -rf /", UNSURE),
    "command: both, by two globs": ({"command": ["rm *", "ls"]}, "ls; rm -rf /", YES),
    "command: all, so that allowing is safe": ({"command": "git *"}, "git pull; git push", YES),
    "command: a program of an array": ({"command": "rm *"}, ["rm", "-rf", "/"], YES),
    "command: an argument of an array": ({"command": "rm *"}, ["echo", "rm -rf /"], NO),
    "command: a line as an array of one": ({"command": "rm *"}, ["ls; rm -rf /"], UNSURE),
    "command: a word as an array of one": ({"command": "ls"}, ["ls"], YES),
    "command: a quote that does not end": ({"command": "ls"}, "rm 'x", UNSURE),
    "command: an empty line": ({"command": "rm *"}, "", NO),
    "command: an empty array": ({"command": "rm *"}, [], NO),
    "command: an array of other things": ({"command": "rm *"}, ["rm", 1], UNSURE),
    "command: an object": ({"command": "rm *"}, {"cmd": "rm x"}, UNSURE),
    "command: null": ({"command": "rm *"}, None, NO),
}

NOT: dict[str, Case] = {
    "not: what does not hold": ({"not": {"equals": 1}}, 2, YES),
    "not: what holds": ({"not": {"equals": 1}}, 1, NO),
    "not: what is unsure stays unsure": ({"not": {"path_within": "/a"}}, "x", UNSURE),
    "not: several inside are one": ({"not": {"gt": 0, "le": 9}}, 10, YES),
    "not: and all of them hold": ({"not": {"gt": 0, "le": 9}}, 9, NO),
    "not: beside another operator": ({"type": "string", "not": {"prefix": "-"}}, "a", YES),
    "not: beside one that fails": ({"type": "string", "not": {"prefix": "-"}}, 1, NO),
    "not: twice": ({"not": {"not": {"equals": 1}}}, 1, YES),
    "not: null is a value": ({"not": {"equals": 1}}, None, YES),
    "not: half of a command line": ({"not": {"command": "ls"}}, "ls; rm x", UNSURE),
}

CASES = VALUES | NUMBERS | TEXTS | PLACES | COMMANDS | NOT


@pytest.mark.parametrize(("entry", "value", "truth"), CASES.values(), ids=CASES)
def test_operators(entry: dict[str, Any], value: Any, truth: Truth) -> None:
    condition = Condition.of("/arguments/x", WhereEntry.model_validate(entry))
    assert condition.test(value) is truth
    params = {"arguments": {"x": value}}
    assert condition.holds(params, allowing=True) is (truth is YES)
    assert condition.holds(params, allowing=False) is (truth is not NO)


OPERATORS = {name: entry for entry, _, _ in CASES.values() for name in entry}


@pytest.mark.parametrize("entry", OPERATORS.values(), ids=OPERATORS)
def test_a_missing_value_meets_no_operator(entry: dict[str, Any]) -> None:
    condition = Condition.of("/arguments/x", WhereEntry.model_validate(entry))
    for params in (None, {}, {"arguments": None}, {"arguments": {"y": 1}}, {"arguments": ["x"]}):
        for allowing in (True, False):
            assert condition.holds(params, allowing=allowing) is (entry == {"exists": False})


def test_every_operator_has_a_table() -> None:
    fields = {spec.alias or name for name, spec in WhereEntry.model_fields.items()}
    assert OPERATORS.keys() == fields - {"match"}


HOSTS: dict[str, tuple[str, str | None]] = {
    "an address of IPv6 without brackets": ("::1", "::1"),
    "an address of IPv6 with them": ("[::1]:80", "::1"),
    "slashes in the query": ("a.example?u=http://b.example/", "a.example"),
    "a fragment at once": ("a.example#@b.example", "a.example"),
    "a scheme of letters, digits and signs": ("git+http://a.example", "a.example"),
    "two schemes": ("jdbc:postgresql://a.example/db", None),
    "a scheme that begins with a digit": ("1http://a.example", None),
    "one slash": ("https:/a.example", None),
    "three slashes": ("https:///a.example", None),
    "a port that is none": ("a.example:port", None),
    "percent escapes": ("https://a%2eexample/", None),
    "a name with an empty label": ("a..example", None),
    "a line end in the scheme": ("ht\ntp://a.example", None),
    "mail": ("mailto:x@a.example", None),
}


@pytest.mark.parametrize(("text", "host"), HOSTS.values(), ids=HOSTS)
def test_hosts(text: str, host: str | None) -> None:
    assert host_of(text) == host
