"""The chat, by the grammar and by providers that a local HTTP server plays in their own protocols."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from conftest import Account, Serve, register

KEY = "sk-canary-0123456789abcdef"


def test_a_conversation_with_the_grammar(ann: Account) -> None:
    answer = ann.say("add buy milk")
    assert answer["engine"] == "grammar" and answer["reply"] == "Added “buy milk”."
    assert [task["title"] for task in answer["tasks"]] == ["buy milk"]
    ann.say("remind me to buy bread")
    ann.say("add call mum with description about Sunday")
    assert ann.say("complete 2")["reply"] == "Completed “buy bread”."
    assert ann.say("list")["reply"] == "You have 3 tasks:\n1. [ ] buy milk\n2. [x] buy bread\n3. [ ] call mum"
    assert ann.say("show open tasks")["reply"] == "You have 2 open tasks:\n1. [ ] buy milk\n3. [ ] call mum"
    assert ann.say("delete buy")["reply"] == (
        "Which one do you mean: “buy milk”, “buy bread”? You can also say its number."
    )
    assert ann.say("delete the car")["reply"] == "I found no task “the car”."
    assert ann.say("delete all completed tasks")["reply"] == "Deleted “buy bread”."
    assert ann.say("reopen call mum")["tasks"][1]["description"] == "about Sunday"
    assert ann.say("clear all")["tasks"] == []
    assert ann.say("complete all")["reply"] == "There are no such tasks."
    assert "I did not understand" in ann.say("colourless green ideas")["reply"]
    assert "I cannot add that" in ann.say("add " + "x" * 256)["reply"]


def test_users_chat_about_their_own_tasks_only(ann: Account) -> None:
    bob = register(ann.client, "bob@example.com")
    ann.say("add a secret")
    assert bob.say("delete all tasks")["reply"] == "There are no such tasks."
    assert ann.titles() == ["a secret"]


@dataclass
class FakeProvider:
    """An HTTP server that answers with what `script` says and keeps the requests."""

    script: list[Callable[[dict[str, Any]], tuple[int, Any]]]
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    provider = FakeProvider([])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            provider.requests.append((self.path, self.headers["Authorization"], body))
            status, answer = provider.script.pop(0)(body)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield provider
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Dialect:
    """How one provider is configured, and how it words a tool call and an answer."""

    name: str
    path: str

    def env(self, url: str, key: str = KEY) -> dict[str, str]:
        return {f"{self.name.upper()}_API_KEY": key, f"{self.name.upper()}_BASE_URL": url}

    def call(self, tool: str, **arguments: object) -> Any:
        function = {"name": tool, "arguments": json.dumps(arguments)}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        }
        return self._wrap(message, "tool_calls")

    def say(self, text: str) -> Any:
        content = text if self.name == "openai" else [{"type": "text", "text": text}]
        return self._wrap({"role": "assistant", "content": content}, "stop")

    def _wrap(self, message: dict[str, Any], reason: str) -> Any:
        if self.name == "openai":
            return {"id": "1", "object": "chat.completion", "choices": [{"message": message, "finish_reason": reason}]}
        return {"id": "1", "message": message, "finish_reason": reason.upper()}


OPENAI, COHERE = Dialect("openai", "/chat/completions"), Dialect("cohere", "/v2/chat")
both = pytest.mark.parametrize("dialect", [OPENAI, COHERE], ids=lambda d: d.name)


@both
def test_the_provider_works_with_the_tools(serve: Serve, fake: FakeProvider, dialect: Dialect) -> None:
    ann = register(serve(**dialect.env(fake.url)))
    task = ann.request("POST", "/tasks", json={"title": "old"}).json()
    fake.script = [
        lambda _: (200, dialect.call("list_tasks")),
        lambda _: (200, dialect.call("complete_task", task_id=task["id"])),
        lambda _: (200, dialect.call("add_task", title="new", description="and shiny")),
        lambda _: (200, dialect.say("All done.")),
    ]
    answer = ann.say("finish the old one and add a new one")
    assert answer["engine"] == dialect.name and answer["reply"] == "All done."
    assert [(t["title"], t["completed"]) for t in answer["tasks"]] == [("old", True), ("new", False)]

    path, authorization, first = fake.requests[0]
    assert path == dialect.path and authorization == f"Bearer {KEY}"
    assert {tool["function"]["name"] for tool in first["tools"]} == {
        "add_task", "list_tasks", "complete_task", "delete_task",
    }  # fmt: skip
    last = fake.requests[-1][2]["messages"]
    assert [m["role"] for m in last] == ["system", "user"] + ["assistant", "tool"] * 3
    assert last[3]["tool_call_id"] == "call_1" and task["id"] in last[3]["content"]


@both
def test_a_wrong_tool_call_is_told_to_the_model(serve: Serve, fake: FakeProvider, dialect: Dialect) -> None:
    ann = register(serve(**dialect.env(fake.url)))
    fake.script = [
        lambda _: (200, dialect.call("add_task", title="x" * 256)),
        lambda _: (200, dialect.call("format_disk")),
        lambda _: (200, dialect.call("delete_task", task_id="00000000-0000-0000-0000-000000000000")),
        lambda _: (200, dialect.say("I could not.")),
    ]
    assert ann.say("do wrong things")["reply"] == "I could not."
    errors = [json.loads(m["content"])["error"] for m in fake.requests[-1][2]["messages"] if m["role"] == "tool"]
    assert errors == [
        "title must have at most 255 characters",
        "there is no tool named format_disk",
        "there is no such task",
    ]


@both
@pytest.mark.parametrize(
    "failure",
    [(401, {"error": "bad key"}), (500, b"oops"), (200, b"not json"), (200, {}), (200, [1])],
    ids=["401", "500", "no-json", "empty", "list"],
)
def test_the_grammar_steps_in(serve: Serve, fake: FakeProvider, dialect: Dialect, failure: tuple[int, Any]) -> None:
    ann = register(serve(**dialect.env(fake.url)))
    fake.script = [lambda _: failure]
    answer = ann.say("add buy milk")
    assert answer["engine"] == "grammar" and [t["title"] for t in answer["tasks"]] == ["buy milk"]


def test_an_unreachable_provider_does_no_harm(serve: Serve) -> None:
    ann = register(serve(**OPENAI.env("http://127.0.0.1:9")))
    assert ann.say("add buy milk")["engine"] == "grammar"


@both
def test_what_the_model_did_before_it_failed_is_not_done_twice(
    serve: Serve, fake: FakeProvider, dialect: Dialect
) -> None:
    ann = register(serve(**dialect.env(fake.url)))
    fake.script = [lambda _: (200, dialect.call("add_task", title="buy milk")), lambda _: (503, {})]
    answer = ann.say("add buy milk")
    assert answer["engine"] == dialect.name and answer["reply"] == "Added “buy milk”."
    assert len(answer["tasks"]) == 1


@pytest.mark.parametrize("key", ["", "sk-...", "your-openai-key", "<key>", "changeme", "placeholder-key"])
def test_placeholders_are_no_keys(serve: Serve, fake: FakeProvider, key: str) -> None:
    ann = register(serve(**OPENAI.env(fake.url, key)))
    assert ann.say("add buy milk")["engine"] == "grammar" and fake.requests == []


@pytest.mark.parametrize("path", ["/chat", "/api/chat"])
def test_only_for_those_who_are_logged_in(serve: Serve, fake: FakeProvider, path: str) -> None:
    client = serve(**OPENAI.env(fake.url))
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Cookie": "todo_session=nonsense"}):
        assert client.post(path, json={"message": "add buy milk"}, headers=headers).status_code == 401
    assert fake.requests == []
