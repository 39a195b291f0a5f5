"""Observed over time, the words of logs, and the table of causes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.config.spec import FailFast
from deployer.core.text import clean_text
from deployer.diagnosis import Finding, Observed, exit_meaning, judge, logs_wanted
from deployer.diagnosis.causes import CAUSES
from deployer.diagnosis.finding import last_lines, named, near
from deployer.diagnosis.logs import PODS_PER_WORKLOAD, REQUESTS, last_words, signature
from deployer.status import Object, Snapshot, WorkloadRef

REF = WorkloadRef("todo", "Deployment", "backend")
DB = WorkloadRef("todo", "StatefulSet", "database")


def found(code: str, **changes: object) -> Finding:
    made = named(code, {"workload": "deployment/backend"}, workload=REF)
    return replace(made, **changes)  # type: ignore[arg-type]


def fails_at(rounds: list[tuple[float, Finding | None]], profile: FailFast = FailFast.BALANCED) -> float | None:
    memory = Observed()
    for now, one in rounds:
        findings = (one,) if one else ()
        memory = memory.observe(findings, now)
        if judge(findings, memory, now, profile).state == "failed":
            return now
    return None


def crash(restarts: int, ended: float, sign: str = "1\nboom", **changes: object) -> Finding:
    return found("CRASH_LOOP", observations=restarts, since=ended, signature=sign, pod="p", **changes)


def test_two_crashes_alike_are_a_verdict() -> None:
    # The second round shows the first crash again, now as the restarted container's last state.
    rounds = [(1.0, crash(0, 1)), (2.0, crash(1, 1)), (3.0, None), (5.0, crash(1, 5))]
    assert fails_at(rounds) == 5.0


def test_two_crashes_that_differ_are_none() -> None:
    assert fails_at([(1.0, crash(0, 1)), (5.0, crash(1, 5, "1\nother"))]) is None


def test_crashes_whose_logs_were_not_seen_are_not_alike() -> None:
    assert fails_at([(1.0, crash(0, 1, "")), (5.0, crash(1, 5, ""))]) is None


def test_crashes_of_two_pods_are_not_alike() -> None:
    assert fails_at([(1.0, crash(0, 1)), (5.0, replace(crash(1, 5), pod="q"))]) is None


def test_three_restarts_are_a_verdict_however_long_the_container_ran_between() -> None:
    rounds: list[tuple[float, Finding | None]] = [(1, crash(1, 1, "")), (100, None), (300, crash(2, 300, ""))]
    assert fails_at([*rounds, (700.0, crash(3, 700, ""))]) == 700


def test_restarts_older_than_the_run_do_not_count() -> None:
    rounds: list[tuple[float, Finding | None]] = [(n, crash(40 + n, n, "", predates=True)) for n in range(5)]
    assert fails_at(rounds) == 2


def test_time_counts_only_without_a_break() -> None:
    cpu = found("UNSCHEDULABLE_CPU")
    assert fails_at([(float(n), cpu) for n in range(30)]) == 15
    assert fails_at([(float(n), cpu if n % 12 == 0 else None) for n in range(100)]) is None


def test_time_while_a_cause_is_ignored_does_not_count() -> None:
    cpu, ignored = found("UNSCHEDULABLE_CPU"), found("UNSCHEDULABLE_CPU", ignored="old pods go")
    assert fails_at([(float(n), ignored if n < 100 else cpu) for n in range(200)]) == 115


def test_observing_does_not_change_the_memory_before() -> None:
    before = Observed()
    assert before.observe((crash(1, 1),), 1.0) != before
    assert before == Observed()


@pytest.mark.parametrize(("profile", "at"), [("strict", 0), ("balanced", 0), ("patient", 30)])
def test_profiles_differ_in_their_grace_periods(profile: str, at: float) -> None:
    assert fails_at([(float(n), found("CONFIG_KEY_MISSING")) for n in range(60)], FailFast(profile)) == at


def test_a_service_may_have_a_profile_of_its_own() -> None:
    one = (found("CONFIG_KEY_MISSING"),)
    memory = Observed().observe(one, 0)
    verdict = judge(one, memory, 0, FailFast.STRICT, overrides={REF: FailFast.PATIENT})
    assert verdict.state == "wait" and verdict.finding == one[0]


def test_a_symptom_gives_way_to_its_workloads_cause() -> None:
    symptom, cause = found("PROGRESS_DEADLINE"), found("READINESS_PROBE")
    other = replace(found("IMAGE_NETWORK"), workload=DB)
    findings = (other, cause, symptom)
    assert judge(findings, Observed().observe(findings, 0), 0).finding == cause


def test_the_deadline_without_a_finding_has_a_name() -> None:
    verdict = judge((), Observed(), 0, deadline_passed=True)
    assert verdict.state == "failed" and verdict.finding is not None and verdict.finding.code == "DEADLINE"


def test_every_cause_has_sentences_and_stricter_is_never_later() -> None:
    for code, cause in CAUSES.items():
        assert code == cause.code and cause.title and cause.source
        assert cause.title == cause.title.strip(". ")
        for bound in ("seconds", "count"):
            values = [getattr(cause.policy(profile), bound) for profile in FailFast]
            known = [value for value in values if value is not None]
            assert known == sorted(known), code
        assert cause.policy(FailFast.STRICT).now or not cause.policy(FailFast.BALANCED).now
    ranks = [cause.rank for cause in CAUSES.values()]
    assert ranks == sorted(ranks)


FATAL_NOW = (
    *("IMAGE_NEVER_PULL", "IMAGE_NAME_INVALID", "IMAGE_NOT_FOUND", "IMAGE_DENIED", "NON_NUMERIC_USER"),
    *("CONFIG_SECRET_MISSING", "CONFIG_MAP_MISSING", "CONFIG_KEY_MISSING", "EXEC_FORMAT", "RUN_NO_SUCH_FILE"),
    *("QUOTA", "ADMISSION"),
)


def test_balanced_is_as_ruled() -> None:
    assert all(str(CAUSES[code].balanced) == "at once" for code in FATAL_NOW)
    assert str(CAUSES["CRASH_LOOP"].balanced) == "after 3 times or after 2 alike"
    assert str(CAUSES["OOM_KILLED"].balanced) == "after 2 times"
    assert str(CAUSES["VOLUME_MOUNT"].balanced) == "after 20 s"
    for code in CAUSES:
        if code.startswith("UNSCHEDULABLE"):
            assert str(CAUSES[code].balanced) == "after 15 s"
        if code.endswith("_PROBE"):
            assert str(CAUSES[code].balanced) == "at the deadline"


@pytest.mark.parametrize(
    ("line", "code", "what"),
    [
        ("OSError: [Errno 30] Read-only file system: '/app/x'", "READ_ONLY_FS", "/app/x"),
        ("Error: EROFS: read-only file system, open '/app/.next/x'", "READ_ONLY_FS", "/app/.next/x"),
        ("Error: listen EADDRINUSE: address already in use :::3000", "PORT_IN_USE", "3000"),
        ("exec /usr/bin/node: exec format error", "EXEC_FORMAT", "/usr/bin/node"),
        ("/usr/bin/env: 'python\\r': No such file or directory", "LINE_ENDS", "python\\r"),
        ("/usr/bin/env: \u2018bash\\r\u2019: No such file or directory", "LINE_ENDS", "bash\\r"),
        ("env: can't execute 'python\r': No such file or directory", "LINE_ENDS", "python\\r"),
        ("/bin/sh: ./run.sh: /bin/bash^M: bad interpreter: No such file", "LINE_ENDS", "/bin/bash^M"),
        ("/run.sh: 3: exec: python\r: not found", "LINE_ENDS", "python\\r"),
        ("./run.sh: 1: set: Illegal option -\r\n", "LINE_ENDS", "set: Illegal option -"),
        ("./run.sh: line 1: set: -\r: invalid option", "LINE_ENDS", "set: -\\r: invalid option"),
        ("python: can't open file '/a/app.py\\r': [Errno 2] No such file or directory", "LINE_ENDS", "/a/app.py\\r"),
        ("./run.sh: line 1: cd: $'/srv\\r': No such file or directory", "LINE_ENDS", "/srv\\r"),
        ("exec ./run.sh: no such file or directory", "INTERPRETER_MISSING", "./run.sh"),
        ("bash: line 1: ./run.sh: cannot execute: required file not found", "INTERPRETER_MISSING", "./run.sh"),
        ("ModuleNotFoundError: No module named 'fastapi'", "MODULE_MISSING", "fastapi"),
        ("Error: Cannot find module '@scope/pkg'", "MODULE_MISSING", "@scope/pkg"),
        ("libpq.so.5: error while loading shared libraries: libpq.so.5: no", "MODULE_MISSING", "libpq.so.5"),
        ("KeyError: 'JWT_SECRET'", "ENV_MISSING", "JWT_SECRET"),
        ("Error: BETTER_AUTH_SECRET is required", "ENV_MISSING", "BETTER_AUTH_SECRET"),
        ("PermissionError: [Errno 13] Permission denied: '/data/x'", "FILE_PERMISSION", "/data/x"),
        ("write /tmp/x: no space left on device", "NO_SPACE", ""),
        ('FATAL:  password authentication failed for user "todo"', "DB_PASSWORD", ""),
        ("Error: getaddrinfo ENOTFOUND backend", "DEPENDENCY", "backend"),
        ("Error: connect ECONNREFUSED 10.96.3.4:5432", "DEPENDENCY", "10.96.3.4"),
        ("ConnectionRefusedError: [Errno 111] Connect call failed ('10.96.0.9', 5432)", "DEPENDENCY", "10.96.0.9"),
        ("dial tcp 10.96.0.9:6379: connect: connection refused", "DEPENDENCY", "10.96.0.9"),
        ("dial tcp: lookup db on 10.96.0.10:53: no such host", "DEPENDENCY", "db"),
        ("nc: bad address 'database'", "DEPENDENCY", "database"),
        ("socket.gaierror: [Errno -2] Name or service not known", "DEPENDENCY", ""),
        ("FATAL:  the database system is starting up", "DEPENDENCY", ""),
    ],
)
def test_last_words(line: str, code: str, what: str) -> None:
    words = last_words(f"started\n{line}\n    at somewhere\n")
    assert words is not None and (words.code, words.what) == (code, what)


def test_last_words_are_the_last() -> None:
    words = last_words("connect ECONNREFUSED 10.0.0.1:5432\nretrying\nKeyError: 'JWT_SECRET'\nbye\n")
    assert words is not None and words.code == "ENV_MISSING"
    assert last_words("GET /health 200\nINFO: ready\n") is None


@pytest.mark.parametrize(
    ("code", "part"),
    [(1, "own error"), (126, "executed"), (127, "not found"), (128, "started"), (130, "signal 2"), (137, "SIGKILL"),
     (139, "SIGSEGV"), (143, "SIGTERM"), (77, "exit code 77")],
)  # fmt: skip
def test_exit_codes_have_meanings(code: int, part: str) -> None:
    assert part in exit_meaning(code)


def test_signatures_forget_numbers() -> None:
    assert signature(1, "12:00:01 boom at 0x7f01") == signature(1, "12:00:09 boom at 0x7f99")
    assert signature(1, "boom") != signature(2, "boom")
    assert signature(1, None) == ""


def test_foreign_text_cannot_move_the_cursor() -> None:
    assert clean_text("\x1b]0;title\x07\x1b[2Ja\x1b[31mb\x1b[0m\x00c\u202ed\r\ne\rf") == "abcd\ne\nf"
    assert last_lines("a\n\n\x1b[1mb\x1b[0m\n" + "x" * 999)[-2:] == ("b", "x" * 399 + "…")


def test_near_misses() -> None:
    assert near("OPENAI_API_KEY", ["OPENAI_APIKEY", "JWT_SECRET"]) == ("`OPENAI_APIKEY` exists: did you mean it?",)
    assert near("x", ["something"]) == ()


def test_logs_wanted_are_few() -> None:
    deployments: list[Object] = []
    sets: list[Object] = []
    pods: list[Object] = []
    status = {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
              "lastState": {"terminated": {"exitCode": 1}}}]}  # fmt: skip
    for n in range(30):
        uid, note = f"d{n}", {"deployment.kubernetes.io/revision": "1"}
        deployments.append({"metadata": {"name": uid, "namespace": "todo", "uid": uid, "annotations": note}})
        owner = [{"uid": uid}]
        sets.append({"metadata": {"name": f"r{n}", "uid": f"r{n}", "ownerReferences": owner, "annotations": note}})
        for m in range(5):
            meta = {"name": f"{uid}-{m}", "ownerReferences": [{"uid": f"r{n}"}]}
            pods.append({"metadata": meta, "status": status})
    snapshot = Snapshot(deployments=tuple(deployments), replicasets=tuple(sets), pods=tuple(pods))
    refs = [WorkloadRef("todo", "Deployment", f"d{n}") for n in range(30)]
    wanted = logs_wanted(snapshot, refs)
    assert len(wanted) == REQUESTS
    assert len([one for one in wanted if one.pod.startswith("d0-")]) == PODS_PER_WORKLOAD
    assert all(one.previous for one in wanted)
