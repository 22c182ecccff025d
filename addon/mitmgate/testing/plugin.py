"""The pytest plugin: captures with golden files are tests, one for each exchange.

It loads in every pytest of an environment that has mitmgate, so it imports nothing of it before a
capture is collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from mitmgate.policy.load import Policy
    from mitmgate.testing.captures import Flow

# What a capture consists of, and what the beginning of each of its files holds.
_GOLDEN, _CAPTURE, _META = ".golden.jsonl", ".jsonl", ".meta.yaml"
_MARKS = {
    _GOLDEN: (b'{"v":', b'"exchange":', b'"verdict":'),
    _CAPTURE: (b'"type":"capture"',),
    _META: (b'tool:"mitmgate', b"profile:"),
}
_LONGEST = 65_536
_POLICY = "mitmgate_policy"
_FLAG: dict[str, Any] = {"action": "store_true"}
_KEY = pytest.StashKey[dict[str, object]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; their names begin with the word that no other plugin uses."""
    group = parser.getgroup("mitmgate", "rules of mitmgate, tested with captures")
    for name, told, more in (
        ("--policy-file", "judge captures by this policy; else the nearest policy.yaml above", {}),
        ("--policy-update", "write what is decided now as golden, unless it is weaker", _FLAG),
        ("--policy-accept-weaker", "with --policy-update: write what is weaker, too", _FLAG),
    ):
        group.addoption(name, help=told, **more)
    parser.addini(_POLICY, "the policy to judge captures by, relative to this file", default="")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a capture once, by its golden file; without one by what is left, as an error."""
    stem = _stem(file_path)
    if stem is None:
        return None
    files = {file_path.with_name(stem + suffix): suffix for suffix in _MARKS}
    leads = next((file for file in files if file.is_file()), None)
    if leads != file_path or not any(_is_marked(*file) for file in files.items()):
        return None  # others call their files so, too
    collected: pytest.Collector = GoldenFile.from_parent(parent, path=file_path)
    return collected


class GoldenFile(pytest.File):
    """A golden file with the capture beside it; collecting it judges the whole capture.

    Where the golden file is missing, the path is that of the capture or of the meta file.
    """

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test for each exchange; to update, one test that writes the file."""
        config = self.config
        if config.getoption("policy_accept_weaker") and not config.getoption("policy_update"):
            raise pytest.UsageError("--policy-accept-weaker is for --policy-update")
        capture, policy = _capture_of(self.path), self.policy()
        if config.getoption("policy_update"):
            yield Update.from_parent(self, name="update")
            return
        for flow in self.usable("flows", capture, policy):
            yield Exchange.from_parent(self, name=f"exchange-{flow.number}", flow=flow)

    def policy(self) -> Policy:
        """Return the policy to judge by, read once for all that name the same file."""
        known = self.config.stash.setdefault(_KEY, {})
        path = self._policy_path()
        if str(path) not in known:
            known[str(path)] = self.usable("read_policy", path)
        policy: Policy = known[str(path)]  # type: ignore[assignment]
        return policy

    def usable(self, name: str, *given: object, **more: object) -> Any:
        """Return what the function *name* of our own part gives; its errors have no traceback."""
        from mitmgate.errors import ConfigError  # noqa: PLC0415
        from mitmgate.testing import captures  # noqa: PLC0415

        try:
            return getattr(captures, name)(*given, **more)
        except ConfigError as error:
            raise self.CollectError(str(error)) from None

    def _policy_path(self) -> Path:
        config = self.config
        option: str | None = config.getoption("policy_file")
        ini: str = config.getini(_POLICY)
        if option:
            return config.invocation_params.dir / option
        if ini:
            return (config.inipath.parent if config.inipath else config.rootpath) / ini
        for folder in self.path.parents:
            if (folder / "policy.yaml").is_file():
                return folder / "policy.yaml"
            if folder == config.rootpath:
                break
        raise self.CollectError(
            f"no policy.yaml stands above {self.path.name}: name the policy with --policy-file, or "
            f"with {_POLICY} in the ini file"
        )


class Exchange(pytest.Item):
    """One exchange: it fails where the policy decides otherwise than the golden file says.

    Where nobody can tell, since the capture does not hold what was decided on, it is skipped.
    """

    def __init__(self, *, flow: Flow, **given: Any) -> None:
        super().__init__(**given)
        self._flow = flow
        self.extra_keyword_matches.update(flow.words)

    def runtest(self) -> None:
        """Fail with what is different, or skip with what is missing."""
        flow = self._flow
        if flow.told:
            more = [flow.undecided] if flow.missing else []
            raise Changed("\n".join([*flow.told, *more, *_next_step(weaker=flow.weaker)]))
        if flow.missing:
            pytest.skip(flow.undecided)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the text of a difference without a traceback."""
        return _shown(self, excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Tell where it stands, and its title."""
        return self.path, None, f"{self.path.name} exchange {self._flow.number}"


class Update(pytest.Item):
    """Writes a golden file and seals its capture, or fails where anything is weaker."""

    def runtest(self) -> None:
        """Write."""
        parent = self.parent
        if not isinstance(parent, GoldenFile):
            raise TypeError("an update belongs to a golden file")
        weaker = self.config.getoption("policy_accept_weaker")
        told = parent.usable("update", _capture_of(self.path), parent.policy(), weaker=weaker)
        if told:
            raise Changed("\n".join([*told, "Nothing was written.", *_next_step(weaker=True)]))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the text of a difference without a traceback."""
        return _shown(self, excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Tell where it stands, and its title."""
        return self.path, None, f"{self.path.name} update"


class Changed(Exception):
    """What is decided now is not what the golden file says."""


def _shown(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException], style: Any) -> Any:
    if isinstance(excinfo.value, Changed | pytest.Collector.CollectError):
        return str(excinfo.value)
    return pytest.Item.repr_failure(item, excinfo, style)


def _next_step(*, weaker: bool) -> list[str]:
    accept = "--policy-update --policy-accept-weaker" if weaker else "--policy-update"
    return [f"If this is what you meant: run it again with {accept}."]


def _stem(path: Path) -> str | None:
    """Return what the names of the files of a capture begin with, None for another file."""
    name = path.name
    return next((name.removesuffix(end) for end in _MARKS if name.endswith(end)), None)


def _capture_of(part: Path) -> Path:
    return part.with_name(f"{_stem(part)}{_CAPTURE}")


def _is_marked(path: Path, kind: str) -> bool:
    try:
        with path.open("rb") as file:
            begin = file.read(_LONGEST) if kind == _META else file.readline(_LONGEST)
    except OSError:
        return False
    return all(mark in begin.replace(b" ", b"") for mark in _MARKS[kind])
