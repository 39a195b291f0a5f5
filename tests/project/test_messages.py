"""Every message that the tool can print: its code, its title, and what to do about it."""

from __future__ import annotations

import re
from collections import defaultdict

from scripts.messages import Message, messages

# Codes of progress and of facts: there is nothing to do.
INFORMATION = {
    "ADVICE": "it names the command that shows more",
    "CONFIG_CACHE": "the kubelet reads it again by itself",
    "FIRST_RUN": "how long the first run takes",
    "LEASE_OVERDUE": "the run waits by itself",
    "LOCK_WAIT": "the run waits by itself",
    "NAMESPACE_KEPT": "what is in it is not ours",
    "NOT_ALLOWED": "what is not allowed is left out",
    "NOTICE": "one sentence of what was done",
    "POD_FREED": "the rollback goes on by itself",
    "REBUILDING": "the rollback goes on by itself",
    "ROLLING_BACK": "the rollback goes on by itself",
}
# What several modules report under one code: it means the same in each.
SHARED = {
    "ADDON_NETWORK": "a load balancer has no addresses to give",
    "API_UNREACHABLE": "the API server does not answer",
    "CHART_DEPENDENCY": "a dependency of a chart is missing or has no name",
    "CHART_DIGEST": "an archive is not the one that it must be",
    "CHART_MISSING": "there is no chart at the path",
    "CHART_NAME": "a chart has another name than is asked for",
    "CHART_YAML": "a chart's file cannot be read",
    "CLUSTER_FOREIGN": "todo-deploy did not make the cluster",
    "CONTEXT_MISSING": "the kubeconfig has no such context",
    "DISK_FULL": "no space is left",
    "DOCKER_PERMISSION": "this user may not use Docker",
    "DOCKER_UNREACHABLE": "Docker does not answer",
    "ENV_EXISTS": "an env file is never overwritten",
    "ENV_TRACKED": "git tracks an env file",
    "ENV_UNREADABLE": "an env file cannot be read",
    "FIELD_IMMUTABLE": "Kubernetes does not let a field change",
    "HELM_MISSING": "helm is not on this machine",
    "INTERRUPTED": "the user ended the run",
    "KUBECONFIG_UNREADABLE": "the kubeconfig, or a file that it names, cannot be used",
    "LINE_ENDS": "a script has the line ends of Windows",
    "LOCKED": "another run deploys the application",
    "LOCK_WAIT": "another run deploys the application",
    "OBJECT_FOREIGN": "an object of a release exists already and is not the release's",
    "OBJECT_INVALID": "Kubernetes does not take an object of a release",
    "PATH_OUTSIDE": "a path leads out of the folder that it must stay in",
    "QUOTA": "the namespace's ResourceQuota does not admit the pods",
    "ROLLBACK_RELEASE": "Helm has not the revision any more",
    "ROLLBACK_SECRET": "the values of the revision are gone",
    "SERVICE_UNKNOWN": "the spec has no such service",
    "STATE_UNWRITABLE": "a file of the tool's own state cannot be written",
    "TAG_LATEST": "the tag `latest` is not used",
    "TOOLCHAIN_MISSING": "a program of the tool is not there",
    "USAGE": "the command line is wrong",
}  # fmt: skip
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def found() -> tuple[Message, ...]:
    """The messages whose code is written in the source; others are passed on as they are."""
    return tuple(one for one in messages() if "{" not in one.code)


def test_there_are_messages_of_every_kind() -> None:
    kinds = {one.kind for one in found()}
    assert {"Problem", "input_error", "machine_error", "refused", "cause", "certain", "policy", "advice"} <= kinds


def test_codes_are_upper_snake_case_and_titles_are_there() -> None:
    codes = {code for one in found() for code in one.code.split(" | ")}
    assert [code for code in codes if not CODE.fullmatch(code)] == []
    assert [one.place for one in found() if len(one.title) < 4] == []


def test_every_message_says_what_to_do() -> None:
    silent = {f"{one.code} {one.place}" for one in found() if not one.hint and one.code not in INFORMATION}
    assert sorted(silent) == []


def test_a_code_has_one_meaning() -> None:
    """A code of several modules, or of a rule or cause and another message, is in the table with its meaning."""
    places: dict[str, set[str]] = defaultdict(set)
    for one in found():
        kind = "rule" if one.kind in ("error", "warning", "note") else one.kind if one.kind == "cause" else "problem"
        for code in one.code.split(" | "):
            places[code].add(f"{kind} {one.place.partition(':')[0]}")
    several = {code for code, known in places.items() if len(known) > 1}
    assert sorted(several - SHARED.keys()) == []
    assert sorted((SHARED.keys() | INFORMATION.keys()) - places.keys()) == []


def test_titles_use_the_words_of_the_field() -> None:
    words = re.compile(r"\b(told|breach|patience|stand-in|door|authorities|the hold|is no map)\b", re.IGNORECASE)
    assert [f"{one.code}: {one.title} / {one.hint}" for one in found() if words.search(f"{one.title} {one.hint}")] == []
