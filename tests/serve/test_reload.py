"""Reloads: what is put in force, what waits, what is refused, and what is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from judging import call, decide
from piping import Audit

from mitmgate.judge.judge import Judge
from mitmgate.policy.source import PolicySource
from mitmgate.policy.verdict import Verdict
from mitmgate.scan.canary import Canary
from mitmgate.scan.engine import Scanner
from mitmgate.serve.books import Books
from mitmgate.serve.canaries import CANARIES, save_canaries
from mitmgate.serve.reload import Reloader
from mitmgate.strictyaml import read_file

HEAD = 'version: 1\nservers: {files: {url: "https://files.example/mcp"}}\n'
ASKS = f"{HEAD}mcp: {{otherwise: ask}}\n"
DENIES = f"{HEAD}mcp: {{otherwise: deny}}\n"
ALLOWS = f"{HEAD}mcp: {{otherwise: allow}}\n"


@dataclass
class Rig:
    path: Path
    reloader: Reloader
    audit: Audit
    log: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        """Replace the file as editors do: whole, by a rename."""
        fresh = self.path.with_name("fresh")
        fresh.write_text(text)
        fresh.replace(self.path)

    def verdict(self) -> Verdict:
        return decide(self.reloader.judge, call("get")).verdict


def make_rig(folder: Path, text: str = ASKS, *, trust: bool = False) -> Rig:
    path = folder / "policy.yaml"
    path.write_text(text)
    source = PolicySource(path)
    read, stamp = source.read()
    audit, log = Audit(), list[str]()
    books = Books(folder)
    stamp = (*stamp, *books.stamp())
    judge = Judge(read.policy, Scanner(books.of(read.policy), hash_key=b"k"))
    reloader = Reloader(judge, books, source, audit, log.append, trust, stamp, _read=read)
    return Rig(path, reloader, audit, log)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return make_rig(tmp_path)


async def test_the_same_file_changes_nothing(rig: Rig) -> None:
    assert await rig.reloader.reload() == "unchanged"
    assert rig.audit.records == []


async def test_what_tightens_is_put_in_force(rig: Rig) -> None:
    before = rig.reloader.judge.policy.hash
    rig.write(DENIES)
    assert await rig.reloader.reload() == "applied"
    assert rig.verdict() is Verdict.DENY
    [record] = rig.audit.of("policy")
    assert (record["result"], record["before"]) == ("applied", before)
    assert record["policy"] == rig.reloader.judge.policy.hash


async def test_what_loosens_waits_for_exactly_its_confirmation(rig: Rig) -> None:
    rig.write(ALLOWS)
    assert await rig.reloader.reload() == "waiting"
    assert rig.verdict() is Verdict.ASK
    waiting = rig.reloader.waiting
    assert waiting is not None
    assert waiting.changes == ("mcp.otherwise: allow, was ask",)
    assert not rig.reloader.confirm("sha256:other", "me")
    assert rig.reloader.confirm(waiting.policy.hash, "me")
    assert rig.verdict() is Verdict.ALLOW
    assert not rig.reloader.confirm(waiting.policy.hash, "me")
    assert [record["result"] for record in rig.audit.of("policy")] == ["waiting", "applied"]
    assert rig.audit.of("policy")[1]["operator"] == "me"


async def test_a_policy_that_waits_gives_way_to_the_next_one(rig: Rig) -> None:
    rig.write(ALLOWS)
    await rig.reloader.reload()
    rig.write(DENIES)
    assert await rig.reloader.reload() == "applied"
    assert rig.reloader.waiting is None
    assert rig.verdict() is Verdict.DENY


async def test_going_back_to_what_is_in_force_forgets_what_waits(rig: Rig) -> None:
    rig.write(ALLOWS)
    await rig.reloader.reload()
    rig.write(ASKS)
    assert await rig.reloader.reload() == "unchanged"
    assert (rig.reloader.waiting, rig.reloader.trouble) == (None, None)


async def test_a_broken_file_keeps_the_old_policy(rig: Rig) -> None:
    rig.write(ASKS.replace("ask", "maybe"))
    assert await rig.reloader.reload() == "refused"
    assert rig.verdict() is Verdict.ASK
    assert "the old one counts" in (rig.reloader.trouble or "")
    assert rig.audit.of("policy")[0]["problem"] == rig.reloader.problem
    assert any(line.startswith("trouble  the policy cannot be loaded") for line in rig.log)


async def test_a_file_that_is_gone_keeps_the_old_policy(rig: Rig) -> None:
    rig.path.unlink()
    assert await rig.reloader.reload() == "refused"
    assert rig.verdict() is Verdict.ASK


async def test_where_it_is_trusted_nothing_waits(tmp_path: Path) -> None:
    rig = make_rig(tmp_path, trust=True)
    rig.write(ALLOWS)
    assert await rig.reloader.reload() == "applied"
    assert rig.audit.of("policy")[0]["changes"] == ["mcp.otherwise: allow, was ask"]


async def test_a_change_of_a_pack_is_a_change(tmp_path: Path) -> None:
    pack = tmp_path / "pack.yaml"
    pack.write_text("version: 1\nmcp: {rules: [{id: p, tool: x, then: deny}]}\n")
    rig = make_rig(tmp_path, f"extends: ./pack.yaml\n{ASKS}")
    before = rig.reloader.source.stamp((pack,))
    pack.write_text(
        "version: 1\nmcp: {rules: [{id: p, tool: get, then: deny}, {id: q, then: deny}]}\n"
    )
    assert rig.reloader.source.stamp((pack,)) != before
    await rig.reloader.reload()
    waiting = rig.reloader.waiting
    policy = rig.reloader.judge.policy if waiting is None else waiting.policy
    assert [rule.id for rule in policy.mcp_rules] == ["p", "q"]


async def test_a_full_disk_is_told_and_the_policy_still_counts(rig: Rig) -> None:
    rig.audit.broken = True
    rig.write(DENIES)
    assert await rig.reloader.reload() == "applied"
    assert any("the audit file cannot be written" in line for line in rig.log)


def test_a_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(ASKS)
    texts = [DENIES]

    def reading(name: Path) -> str:
        text = read_file(name)
        if texts:
            name.write_text(texts.pop())
        return text

    monkeypatch.setattr("mitmgate.policy.source.read_file", reading)
    read, _ = PolicySource(path).read()
    assert read.policy.mcp_otherwise is Verdict.DENY


PACK = """\
version: 1
pack: acme
kind: secrets
rules:
  - {id: secret.acme-own, title: Acme key, severity: high, pattern: 'acme_[0-9a-f]{6}',
     keywords: [acme_], match: [[acme_, 5f2a9c]], clean: [acme_]}
"""


def rules_in_force(rig: Rig) -> frozenset[str]:
    return frozenset(rig.reloader.judge.scanner.rules)


async def test_a_pack_of_scanner_rules_is_read_with_its_policy(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(PACK)
    rig.write(f"{ASKS}scan: {{packs: [./acme.yaml]}}\n")
    assert await rig.reloader.reload() == "applied"
    assert "secret.acme-own" in rules_in_force(rig)


async def test_a_change_of_such_a_pack_may_loosen_and_waits(rig: Rig, tmp_path: Path) -> None:
    pack = tmp_path / "acme.yaml"
    pack.write_text(PACK)
    rig.write(f"{ASKS}scan: {{packs: [./acme.yaml]}}\n")
    await rig.reloader.reload()
    pack.write_text(PACK.replace("{6}", "{7}").replace("5f2a9c", "5f2a9c0"))
    assert await rig.reloader.reload() == "waiting"
    assert rig.reloader.waiting is not None
    assert rig.reloader.waiting.changes == (f"scan.packs: {pack} is another",)
    assert rig.reloader.confirm(rig.reloader.waiting.policy.hash, "me")
    rule = rig.reloader.judge.scanner.rules["secret.acme-own"]
    assert rule.match == ("acme_5f2a9c0",)


BROKEN_PACKS = {
    "a rule that fails its sample": PACK.replace("5f2a9c", "5f2a"),
    "a rule that is installed already": PACK.replace("secret.acme-own", "secret.github-token"),
    "no pack at all": "version: 2",
}


@pytest.mark.parametrize("text", BROKEN_PACKS.values(), ids=BROKEN_PACKS)
async def test_a_broken_pack_keeps_the_old_policy(rig: Rig, tmp_path: Path, text: str) -> None:
    (tmp_path / "acme.yaml").write_text(text)
    before = rules_in_force(rig)
    rig.write(f"{ASKS}scan: {{packs: [./acme.yaml]}}\n")
    assert await rig.reloader.reload() == "refused"
    assert rules_in_force(rig) == before
    assert "acme" in (rig.reloader.trouble or "")


async def test_a_canary_counts_from_its_planting_and_goes_only_with_an_operator(
    rig: Rig, tmp_path: Path
) -> None:
    canary = Canary("bin", "password", ("q7Zr2mXw9Lp4",), "the bin", "2026-01-01")
    save_canaries(tmp_path, [canary])
    assert await rig.reloader.reload() == "applied"
    assert "canary.bin" in rules_in_force(rig)
    save_canaries(tmp_path, [])
    assert await rig.reloader.reload() == "waiting"
    assert rig.reloader.waiting is not None
    assert rig.reloader.waiting.changes == ("canary.bin is not looked for any more",)
    assert "canary.bin" in rules_in_force(rig)


async def test_a_damaged_file_of_canaries_keeps_the_old_ones(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / CANARIES
    path.write_text('{"version": 1')
    path.chmod(0o600)
    assert await rig.reloader.reload() == "refused"
    assert "is damaged" in (rig.reloader.trouble or "")
