"""What a developer does forty times a day: an edit, `up`, and only that rolls; Ctrl-C whenever they like."""

from __future__ import annotations

import base64
import json
import signal
import time
from pathlib import Path
from secrets import token_urlsafe

import pytest

from deployer.core.errors import ExitCode
from deployer.core.redact import MASK
from tests.cluster import PROFILE, CompletedCli
from tests.e2e.browser import Browser, InsideVisitor, Visitors, served_files
from tests.e2e.project import CURRENT_CONTEXT, RELEASE, ProcessList, Project, command_lines, one_document, tell
from tests.forms import shown

SOURCE = "app/backend/todo_backend/routes/health.py"
BACKEND = "dockerfiles/backend.Dockerfile"
MAIN = "app/backend/todo_backend/app.py"
# Made anew for each run, so that it stands in no source; with characters that URLs and base64 write otherwise.
# Made by chance throughout: six characters of it stand nowhere else.
CANARY = f"sk-{token_urlsafe(12)}/{token_urlsafe(12)}+&={token_urlsafe(12)}"
# A duration that nobody else's sleep has.
NAP = "4711"


def test_one_line_of_the_backend(app: Project, urls: dict[str, str], ann: Browser) -> None:
    pods, revision = app.pods(), app.revision()
    with (app.root / SOURCE).open("a") as file:
        file.write(f"\n# one line more, as nobody built it before: {token_urlsafe(6)}\n")
    planned = app.json("plan")["data"]
    assert planned["changes"] is True
    changes = {
        (step["kind"], step["name"]): step["reason"] for step in planned["steps"] if step["action"] != "unchanged"
    }
    assert {name for kind, name in changes if kind == "image"} == {"backend"}
    assert Path(SOURCE).name in changes["image", "backend"]
    assert app.run("plan", "--exit-code").returncode == ExitCode.DIFFERENCES
    inside = [
        str(app.toolchain.kubectl), "--kubeconfig", str(app.kubeconfig), "--context", PROFILE,
        "exec", "-i", "--namespace", "default", "deploy/frontend-chatbot", "--",
    ]  # fmt: skip
    with (
        Visitors(urls["web"] + "/api/health") as web,
        Visitors(urls["chatbot"] + "/api/health", people=1) as chatbot,
        InsideVisitor(inside, "http://backend-service:8000/health") as direct,
    ):
        data = app.up()
    tell("one line of the backend", f"{data['seconds']} s")
    for one in data["stages"]:
        tell(f"  stage {one['name']}", f"{one['seconds']:.2f} s")
    tell("requests while the backend rolled", (
        f"web {web.asked} ({web.rate:.0f}/s, slowest {web.slowest:.2f} s), chatbot {chatbot.asked}, "
        f"in the cluster {direct.asked}; failed {len(web.failures)}, {len(chatbot.failures)}, {len(direct.failures)}"
    ))  # fmt: skip
    assert data["changed"] is True
    assert {one["name"]: one["built"] for one in data["images"]} == {
        "backend": True, "frontend-web": False, "frontend-chatbot": False, "database": False,
    }  # fmt: skip
    assert "health.py" in data["images"][0]["reason"]
    assert data["releases"][0] == {"name": RELEASE, "namespace": "default", "revision": revision + 1, "changed": True}
    assert app.rolled(pods) == {"backend"}
    assert len(app.pods()) == len(pods)
    assert (web.failures, chatbot.failures, direct.failures) == ([], [], [])
    assert min(web.asked, chatbot.asked, direct.asked) > 50
    assert "water the plants" in ann.tasks()
    assert app.json("plan", "--exit-code")["data"]["changes"] is False


def _leaks(value: str, texts: dict[str, str]) -> list[str]:
    """Where a part of the value, 6 characters long, stands in some form."""
    return [name for name, text in texts.items() if shown(value, text)]


def test_a_rotated_key_rolls_its_users_and_leaks_nowhere(
    app: Project, urls: dict[str, str], first_up: CompletedCli
) -> None:
    pods = app.pods()
    app.set_env("OPENAI_API_KEY", CANARY)
    texts = {"plan": app.run("plan").stdout, "plan -o json": app.run("plan", "-o", "json").stdout}
    assert "app-secrets" in texts["plan"]
    with ProcessList() as processes:
        done = app.run("up", "-v", "-v", "--progress", "plain", "-o", "json")
    assert done.returncode == 0, done.stderr[-4000:]
    data = one_document(done.stdout)["data"]
    tell("a rotated key", f"{data['seconds']} s")
    assert not [one["name"] for one in data["images"] if one["built"]]
    assert app.rolled(pods) == {"backend", "frontend-chatbot"}
    held = base64.b64decode(app.object("secret", "app-secrets")["data"]["OPENAI_API_KEY"]).decode()
    assert held == CANARY
    texts |= {
        "first up": first_up.stdout + first_up.stderr,
        "up -v": done.stdout + done.stderr,
        "process list": "\n".join(processes.seen),
        "helm get all": app.helm("get", "all", RELEASE, "--namespace", "default"),
        "helm get values": app.helm("get", "values", RELEASE, "--namespace", "default", "--all", "-o", "json"),
        "helm history": app.helm("history", RELEASE, "--namespace", "default", "-o", "json"),
        "events": app.kubectl("get", "events", "-A", "-o", "json"),
        "all but Secrets": app.kubectl(
            "get", "deploy,sts,rs,pods,svc,configmap,pvc,nodes", "-A", "-o", "json"
        ),
        "names and annotations of Secrets": json.dumps([one["metadata"] for one in app.objects("secret")]),
    }  # fmt: skip
    for words in (
        ["status", "-v"],
        ["doctor"],
        ["config", "view"],
        ["secrets", "check"],
        ["logs"],
        ["validate"],
        ["env"],
    ):
        ran = app.run(*words)
        texts[" ".join(words)] = ran.stdout + ran.stderr
    for pod in app.pods():
        texts[f"log of {pod}"] = app.kubectl("logs", "--namespace", "default", pod, "--all-containers")
    for folder in (app.state, app.root):
        for file in folder.rglob("*"):
            if file.is_file() and file != app.env_file:
                texts[str(file)] = file.read_bytes().decode("latin-1")
    for frontend, start in (("chatbot", "/"), ("web", "/login")):
        for path, content in served_files(urls[frontend], start).items():
            texts[f"{path} of {frontend}"] = content.decode("latin-1")
    assert processes.looks > 50
    assert any("helm" in words and "upgrade" in words for words in processes.seen), "the watch would have seen a leak"
    assert len([name for name in texts if name.endswith("events.jsonl")]) >= 3
    for key in ("OPENAI_API_KEY", "POSTGRES_PASSWORD", "BETTER_AUTH_SECRET"):
        assert _leaks(app.env_value(key), texts) == [], key
    tell("places searched for secrets", f"{len(texts)}, {len(processes.seen)} command lines")


_FUTURE = "from __future__ import annotations\n"
# What a program prints that cannot start with the key it was given, each form on a line.
_PRINTS_ITS_KEY = """
import base64, html, json, os, sys, urllib.parse
_key = os.environ["OPENAI_API_KEY"]
for _form in (
    _key, urllib.parse.quote(_key, safe=""), urllib.parse.quote_plus(_key), json.dumps(_key), html.escape(_key),
    base64.b64encode(_key.encode()).decode(), base64.b64encode(b"user:" + _key.encode() + b"@").decode(),
    _key.encode().hex(), _key[:9] + "\\x1b[31m" + _key[9:], "x" * 390 + _key,
):
    print("invalid key", _form, file=sys.stderr)
raise SystemExit("cannot start with " + _key)
"""


def test_a_program_that_prints_its_key_leaks_it_nowhere(app: Project) -> None:
    app.set_env("OPENAI_API_KEY", CANARY)
    texts: dict[str, str] = {}
    page = app.root.parent / "canary.html"
    with app.edited(MAIN, lambda text: text.replace(_FUTURE, _FUTURE + _PRINTS_ITS_KEY)):
        for words in (
            ("up", "-v", "-v", "--progress", "plain", "-o", "json", "--on-failure", "keep"), ("status",),
            ("status", "-o", "json"), ("logs", "backend"), ("logs", "backend", "--previous", "-o", "json"),
            ("explain",), ("explain", "-o", "json"), ("explain", "--html", str(page)), ("history",), ("plan",),
            ("rollback",),
        ):  # fmt: skip
            ran = app.run(*words)
            texts[" ".join(words)] = ran.stdout + ran.stderr
    texts[str(page)] = page.read_text()
    texts |= {str(file): file.read_text(errors="replace") for file in app.state.rglob("*") if file.is_file()}
    assert sum(text.count(MASK) for text in texts.values()) > 20, "what is not printed cannot leak"
    assert _leaks(CANARY, texts) == []
    assert app.run("up").returncode == ExitCode.OK
    tell("places searched for the key of a crashing program", str(len(texts)))


def test_ctrl_c_in_a_build_and_while_it_is_deployed(app: Project) -> None:
    """Four times in a row on the way of one change; then the next `up` brings it to its end."""
    pods, revision = app.pods(), app.revision()
    sleeping = f"COPY todo_backend todo_backend\nRUN sleep {NAP}\n"
    with app.edited(BACKEND, lambda text: text.replace("COPY todo_backend todo_backend\n", sleeping)):
        build = app.start("up", "-o", "json", "--progress", "plain")
        build.wait_for(lambda: f"sleep {NAP}" in command_lines())
        _assert_interrupted(build.interrupt(), build.stdout)
    assert build.survivors() == []
    assert app.pods() == pods
    assert app.revision() == revision
    still = [words for words in command_lines() if words == f"sleep {NAP}"]
    assert still == [], "the build goes on in the cluster's daemon"

    source = (app.root / SOURCE).read_text()
    (app.root / SOURCE).write_text(source + f"\n# another line {token_urlsafe(6)}\n")
    for stage in ("cluster started", "releases started", "rollout started"):
        run = app.start("up", "-o", "json", "--progress", "plain")
        run.wait_for_line(stage)
        _assert_interrupted(run.interrupt(), run.stdout)
        assert run.survivors() == [], stage
    data = app.up()
    assert {one["phase"] for one in data["workloads"]} == {"Available"}
    assert app.rolled(pods) == {"backend"}
    assert app.current_context() == CURRENT_CONTEXT
    refs = {one["name"]: one["ref"] for one in data["images"]}
    served = {
        one["spec"]["containers"][0]["image"] for one in app.objects("pods", "--selector", "app=backend")
        if not one["metadata"].get("deletionTimestamp")
    }  # fmt: skip
    assert served == {refs["backend"]}
    history = json.loads(app.helm("history", RELEASE, "--namespace", "default", "-o", "json"))
    assert history[-1]["status"] == "deployed"
    assert app.up()["changed"] is False


def _assert_interrupted(code: int, stdout: list[str]) -> None:
    assert code == ExitCode.INTERRUPTED
    document = one_document("".join(stdout))
    assert (document["ok"], document["exitCode"]) == (False, 130)
    assert [one["code"] for one in document["errors"]] == ["INTERRUPTED"]


def test_ctrl_c_ends_what_only_looks(app: Project) -> None:
    run = app.start("logs", "--follow", "backend")
    run.wait_for(lambda: bool(run.stdout), 30)
    assert run.interrupt(10) == ExitCode.INTERRUPTED
    assert not any("Traceback" in line for line in run.lines)


@pytest.mark.parametrize("moment", [0.1, 0.2, 0.35, 0.5])
def test_ctrl_c_in_the_first_moments(app: Project, moment: float) -> None:
    run = app.start("up", "-o", "json")
    time.sleep(moment)
    # Before the program's first own line the signal itself ends it, which every shell calls 130 too.
    assert run.interrupt(10) in (ExitCode.INTERRUPTED, -signal.SIGINT)
    # Nor can it be caught while Python itself still starts: no line of such a traceback is of this package.
    assert not any("/deployer/" in line for line in run.lines if line.lstrip().startswith("File ")), "".join(run.lines)
    assert run.survivors() == []
