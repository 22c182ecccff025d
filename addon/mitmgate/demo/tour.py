"""The guided minute: every kind of decision once, on real traffic, then replayed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mitmgate.demo.parts import HERE, McpClient, child, command, end, read_line, run_console
from mitmgate.demo.pki import make_pki

MCP_NAME = "mcp.demo.example"
DOCS_NAME = "docs.demo.example"
PASTE_NAME = "paste.demo.example"

POLICY = """\
version: 1
network:
  resolve: {{{mcp}: 127.0.0.1, {docs}: 127.0.0.1, {paste}: 127.0.0.1}}
servers:
  notes: {{url: "https://{mcp}:{port}/mcp"}}
mcp:
  rules:
    - id: no-mass-delete
      tool: delete_*
      where: {{/arguments/force: {{equals: true}}}}
      then: deny
      reason: Deleting everything needs a person at the keyboard.
    - {{id: reads, tool: read_*, then: allow}}
  otherwise: ask
egress:
  rules:
    - {{id: docs, host: {docs}, methods: [GET], then: allow}}
scan:
  injection: {{results: deny}}
hold: {{wait: 60s, unattended: wait}}
"""


@dataclass
class Story:
    """What the tour tells, and whether all of it came out as promised."""

    failed: list[str] = field(default_factory=list)

    def step(self, text: str) -> None:
        """Announce what happens next."""
        print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)

    def say(self, text: str) -> None:
        """Tell what happened."""
        for line in text.splitlines() or [""]:
            print(f"   {line}", flush=True)

    def expect(self, what: str, came_true: bool) -> None:
        """Note whether *what* came true."""
        if not came_true:
            self.failed.append(what)
            self.say(f"!! this should have happened: {what}")


def tour() -> int:
    """Run the tour on this terminal; 0 when everything came out as promised."""
    story = Story()
    with tempfile.TemporaryDirectory(prefix="mitmgate-demo-") as name, _stage(Path(name)) as stage:
        with child(
            "mitmgate.demo.client", stage.url, "auto", stdin=subprocess.PIPE, env=stage.agent
        ) as process:
            client = McpClient(process)
            story.step(
                "1. An MCP client connects. It knows HTTPS_PROXY and SSL_CERT_FILE, no more."
            )
            story.say(f"revision {client.answer()['connected']}, server {stage.url}")
            _calls(story, client, stage)
            _contents(story, client)
            _egress(story, client, stage)
        end(stage.gate)
        _replay(story, stage)
    if story.failed:
        print(f"\nThe demo failed: {'; '.join(story.failed)}.", file=sys.stderr)
        return 1
    print("\nThat was all of it. Next: `mitmgate run`, and point an agent at it.")
    return 0


@dataclass(frozen=True)
class Stage:
    """Where the tour plays. ``agent`` is all that the client's process is given."""

    folder: Path
    port: str
    gate: Any
    ready: dict[str, Any]
    agent: dict[str, str]

    @property
    def url(self) -> str:
        """The MCP server's URL."""
        return f"https://{MCP_NAME}:{self.port}/mcp"

    @property
    def operator(self) -> dict[str, str]:
        """The environment of an operator's shell."""
        return {
            "MITMGATE_STATE_DIR": str(self.folder / "state"),
            "MITMGATE_OPERATOR_KEY": self.ready["operator_key"],
        }


@contextmanager
def _stage(folder: Path) -> Iterator[Stage]:
    ca, server = make_pki(folder, MCP_NAME, DOCS_NAME, PASTE_NAME)
    with child("mitmgate.demo.server", str(server)) as upstream:
        port = read_line(upstream).split()[1]
        policy = folder / "policy.yaml"
        policy.write_text(POLICY.format(mcp=MCP_NAME, docs=DOCS_NAME, paste=PASTE_NAME, port=port))
        options = ["--policy", str(policy), "--state-dir", str(folder / "state"),
                   "--capture", str(folder / "captures"), "--upstream-ca", str(ca)]  # fmt: skip
        with child(
            "mitmgate",
            "run",
            "--listen",
            f"{HERE}:0",
            "--no-console",
            *options,
            stdin=subprocess.DEVNULL,
        ) as gate:
            ready = json.loads(read_line(gate))
            told = json.loads(
                command("env", "--shell", "json", "--state-dir", str(folder / "state"))[1]
            )
            agent = {name: told[name] for name in ("HTTPS_PROXY", "SSL_CERT_FILE")}
            yield Stage(folder, port, gate, ready, {"PATH": os.environ.get("PATH", ""), **agent})


def _calls(story: Story, client: McpClient, stage: Stage) -> None:
    story.step("2. It lists the tools, and calls one that a rule allows.")
    story.say(f"tools: {', '.join(client.do(list=True)['tools'])}")
    answer = client.do(call="read_note", arguments={"title": "plants"})
    story.say(f"read_note: {answer['text']}")
    story.expect("an allowed call runs", answer["error"] is False)

    story.step("3. It calls one that a rule denies. The agent is told why, and the session lives.")
    answer = client.do(call="delete_notes", arguments={"force": True})
    story.say(f"delete_notes: {answer['text']}")
    story.expect("a denied call tells the reason", "person at the keyboard" in answer["text"])

    story.step("4. It calls one that no rule speaks of: a person decides.")
    client.ask(call="save_note", arguments={"title": "idea", "text": "tea at four"})
    if sys.stdin.isatty() and sys.stdout.isatty():
        story.say("the console opens: `a` approves, `d` denies")
        run_console(stage.folder / "state", stage.ready["operator_key"])
        answer = client.answer()
        story.say(f"save_note: {answer['text']}")
    else:
        _approve_by_shell(story, client, stage)


def _approve_by_shell(story: Story, client: McpClient, stage: Stage) -> None:
    entry: dict[str, Any] | None = None
    while entry is None:
        listed = json.loads(command("pending", "--json", environment=stage.operator)[1])
        entry = next(iter(listed["pending"]), None)
    story.say(f"$ mitmgate pending\n{entry['id']}  {json.dumps(entry['arguments']['arguments'])}")
    code, text = command("approve", entry["id"], environment=stage.operator)
    story.say(f"$ mitmgate approve {entry['id']}\n{text.strip()}")
    answer = client.answer()
    story.say(f"save_note: {answer['text']}")
    story.expect("an approved call runs", code == 0 and answer["error"] is False)


def _contents(story: Story, client: McpClient) -> None:
    story.step("5. It passes on a credential. The call stops before it leaves this machine.")
    # In two parts, so that no scanner of source code takes it for a real one.
    leaked = "ghp_" + "x7Rk2mQ9vT4sLw8ZpB3nYc6HdJf5Ga0EuKi1"
    answer = client.do(call="save_note", arguments={"title": "token", "text": leaked})
    story.say(f"save_note: {answer['text']}")
    story.expect("a credential in arguments stops the call", "credential" in answer["text"])

    story.step("6. A result tries to give the model orders. It is withheld.")
    answer = client.do(call="read_note", arguments={"title": "shared"})
    story.say(f"read_note: {answer['text']}")
    story.expect("an injected result is withheld", "withheld" in answer["text"])


def _egress(story: Story, client: McpClient, stage: Stage) -> None:
    story.step("7. Two plain HTTPS requests: one on the allowlist, one not.")
    allowed = client.do(get=f"https://{DOCS_NAME}:{stage.port}/guide")
    story.say(f"GET {DOCS_NAME}: {allowed['status']} {allowed['text']}")
    denied = client.do(get=f"https://{PASTE_NAME}:{stage.port}/guide")
    detail = json.loads(denied["text"])["detail"] if denied["status"] == 403 else denied["text"]
    story.say(f"GET {PASTE_NAME}: {denied['status']} {detail}")
    story.expect("the allowlist decides", (allowed["status"], denied["status"]) == (200, 403))


def _replay(story: Story, stage: Stage) -> None:
    story.step("8. What was captured is judged again. Nothing changed, so the exit code is 0.")
    captures, policy = stage.folder / "captures", stage.folder / "policy.yaml"
    code, text = command("replay", str(captures), "--policy", str(policy))
    story.say(f"$ mitmgate replay captures --policy policy.yaml\n{text.strip()}")
    story.expect("the replay is the same", code == 0)

    story.step("9. Who did what, and who approved it:")
    story.say(command("audit", "tail", environment=stage.operator)[1].strip())
