"""What the last words of a container's log mean, and which logs are worth fetching."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from deployer.core.text import clean_text
from deployer.diagnosis.attempts import telling_pods
from deployer.diagnosis.finding import LogRequest, Logs, last_lines
from deployer.status import Object, Snapshot, WorkloadRef, current_pods
from deployer.status.objects import dig, name_of, rows

PODS_PER_WORKLOAD, REQUESTS = 2, 16

LINES, LONGEST_LINE = 40, 1000
"""Lines of a log, and characters of a line, that are looked at: a cause is said last, in a few words."""

_IN_USE = r"EADDRINUSE|address already in use|Errno 98\]"
# Each pattern takes time in proportion to its line, whatever that holds: what repeats begins at an edge or is bounded
# (`python -m bench.worst_lines` measures it).
# One row: the code it leads to, the pattern (its group `what` is what the title names). The latest match in the
# log wins, because a program's last words are why it ended.
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern, re.IGNORECASE))
    for code, pattern in (
        ("READ_ONLY_FS", r"(?:Read-only file system|EROFS|Errno 30\])[^'\"\n/]*['\"]?(?P<what>/[\w./-]+)?"),
        ("PORT_IN_USE", r"\('[\d.:]*', (?P<what>\d+)[^)]{0,40}\): (?:\[errno 98\] )?address already in use"),
        ("PORT_IN_USE", rf"(?:{_IN_USE})(?:.{{0,200}}[^\d:])?(?P<what>:{{0,3}}\d{{2,5}})\)?$"),
        ("PORT_IN_USE", _IN_USE),
        ("EXEC_FORMAT", r"(?:exec:? \"?(?P<what>[^\s\":]+)\"?: .{0,200})?exec format error"),
        ("LINE_ENDS", r"(?<![\w./@-])(?P<what>[\w./@-]{1,250}(?:\\r|\^M))['\"\u2019)]*: (?:No such|not found|bad)"),
        ("LINE_ENDS", r"(?<![\w./@-])(?P<what>[\w./@-]{1,250}\\r)['\"\u2019]"),
        ("LINE_ENDS", r"(?P<what>set: (?:Illegal option -(?:\\r)?$|-\\r: invalid option))"),
        ("INTERPRETER_MISSING", r"^(?:\[[^\]]*\] )?exec (?P<what>[^\s\":]+): no such file or directory$"),
        ("INTERPRETER_MISSING", r"(?<![^\s\":])(?P<what>[^\s\":]{1,250}): cannot execute: required file not found"),
        ("DB_PASSWORD", r"password authentication failed|Access denied for user|WRONGPASS"),
        ("NO_SPACE", r"no space left on device|ENOSPC|Errno 28\]"),
        ("MODULE_MISSING", r"(?:No module named|Cannot find (?:module|package)) '?(?P<what>[\w@./-]+)"),
        ("MODULE_MISSING", r"error while loading shared libraries: (?P<what>[\w.+-]+)"),
        ("ENV_MISSING", r"KeyError: '(?P<what>[A-Z][A-Z0-9_]+)'"),
        ("ENV_MISSING", (r"(?-i:(?<![A-Z0-9_])(?P<what>[A-Z][A-Z0-9]*_[A-Z0-9_]+))\b.{0,40}"
                        r"(?:is required|not set|is missing)")),
        ("ENV_MISSING", r"missing (?:required )?env\w*(?: variables?)?:? '?(?-i:(?P<what>[A-Z][A-Z0-9_]+))"),
        ("FILE_PERMISSION", r"(?:Permission denied|EACCES|Errno 13\])[^'\"\n/]*['\"]?(?P<what>/[\w./-]+)?"),
        ("DEPENDENCY", r"failed to resolve host '(?P<what>[^']+)"),
        ("DEPENDENCY", r"could not translate host name \"(?P<what>[^\"]+)"),
        ("DEPENDENCY", r"getaddrinfo (?:ENOTFOUND|EAI_AGAIN) (?P<what>[\w.-]+)"),
        ("DEPENDENCY", r"lookup (?P<what>[\w.-]+)(?: on [\d.:]+)?: no such host"),
        ("DEPENDENCY", r"connection to server at \"(?P<what>[^\"]+)\".{0,200}failed"),
        ("DEPENDENCY", r"(?:ECONNREFUSED|Connect call failed)[ (]+'?(?P<what>[\w.-]+)[:', ]+\d+"),
        ("DEPENDENCY", r"dial tcp (?P<what>[\w.-]+):\d+: (?:connect: connection refused|i/o timeout)"),
        ("DEPENDENCY", (r"(?<![\w.-])(?P<what>[\w.-]+):(?:5432|3306|6379|27017)\b.{0,200}"
                       r"(?:refused|no response|not ready|timed? ?out)")),
        ("DEPENDENCY", r"connection refused.{0,200}(?<![\w.-])(?P<what>[\w.-]{1,253}):\d{1,5}$"),
        ("DEPENDENCY", r"connection refused"),
        ("DEPENDENCY", r"Name or service not known|Temporary failure in name res|bad address '(?P<what>[\w.-]+)"),
        ("DEPENDENCY", r"the database system is starting up"),
    )
)  # fmt: skip

# https://tldp.org/LDP/abs/html/exitcodes.html and signal(7)
_EXITS = {
    0: "exit code 0 (it ended by itself; a server has to stay in the foreground)",
    1: "exit code 1 (the program's own error)",
    2: "exit code 2 (wrong usage, or the program's own error)",
    126: "exit code 126 (the command may not be executed)",
    127: "exit code 127 (the command was not found)",
    128: "exit code 128 (the container could not be started)",
    134: "exit code 134 (SIGABRT: the program gave up)",
    137: "exit code 137 (SIGKILL: killed by the node, as for memory, or by a probe)",
    139: "exit code 139 (SIGSEGV: a memory fault)",
    143: "exit code 143 (SIGTERM: it was asked to end)",
    255: "exit code 255 (the program's own error, or the node stopped under it)",
}


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a log says about the end of its container: a code, what it names, and the line."""

    code: str
    what: str
    line: str


def exit_meaning(code: int) -> str:
    """The exit code and what it means, in words."""
    if code in _EXITS:
        return _EXITS[code]
    return f"exit code {code} (signal {code - 128})" if 128 < code < 160 else f"exit code {code}"


def last_words(text: str) -> LastWords | None:
    """The latest line of the log that a known cause explains."""
    for line in reversed(_BROKEN.sub(r"\\r", clean_text(text)).splitlines()):
        for code, pattern in _PATTERNS:
            if match := pattern.search(line):
                return LastWords(code, (match.groupdict().get("what") or "").strip("'^:"), line.strip())
    return None


# A carriage return within a line is read as its end: a name that ends with one shows as a line that begins with what
# a shell says after the name.
_BROKEN = re.compile(r"\n(?=['\"\u2019)]*: (?:No such file|not found|bad|invalid option))")

_TELLING = re.compile(r"error|fatal|exception|panic|fail|cannot|can't|could not|must |invalid|denied|refused", re.I)
_TRACE = re.compile(r"^\s*(?:at |File \"|Node\.js v\d|goroutine |\^+$|~+)")


def telling_line(text: str) -> str:
    """The line of a log's end that says most of why the program ended: the last that sounds like it, else the last."""
    lines = [line for line in last_lines(text) if not _TRACE.match(line)]
    return next((line for line in reversed(lines) if _TELLING.search(line)), lines[-1] if lines else "")


def signature(exit_code: int, text: str | None) -> str:
    """Equal for two crashes that ended alike; empty where the log was not seen."""
    if text is None:
        return ""
    said = telling_line(text)
    # A server's last lines are often those of requests, which differ where the reason does not.
    said = said if _TELLING.search(said) else "\n".join(last_lines(text, 5))
    same = re.sub(r"0x[0-9a-f]+|\d+", "#", said)
    return f"{exit_code}\n{same}"


def log_of(logs: Logs, pod: str, container: str, *previous: bool) -> str | None:
    """The first of these logs that was fetched."""
    return next((logs[key] for one in previous if (key := (pod, container, one)) in logs), None)


def logs_wanted(snapshot: Snapshot, refs: Iterable[WorkloadRef]) -> tuple[LogRequest, ...]:
    """The container logs that diagnosis of this snapshot needs: of few pods per workload, and few in all."""
    wanted: list[LogRequest] = []
    for ref in sorted(refs):
        pods = 0
        for pod in telling_pods(ref, current_pods(ref, snapshot)):
            found = [request for request in _of_pod(ref, pod) if request not in wanted]
            pods += bool(found)
            wanted += found if pods <= PODS_PER_WORKLOAD else []
    return tuple(wanted[:REQUESTS])


def _of_pod(ref: WorkloadRef, pod: Object) -> list[LogRequest]:
    found: list[LogRequest] = []
    init = rows(pod, "status", "initContainerStatuses")
    for status in init + rows(pod, "status", "containerStatuses"):
        name, state, last = str(status.get("name")), dig(status, "state"), dig(status, "lastState", "terminated")
        request = LogRequest(ref.namespace, name_of(pod), name, False)
        ended = dig(state, "terminated")
        if ended and (dig(ended, "exitCode") != 0 or (status not in init and ref.kind not in ("Job", "CronJob"))):
            found.append(request)
        elif dig(state, "waiting") and last:
            found.append(LogRequest(ref.namespace, name_of(pod), name, True))
        elif dig(state, "running") is not None and status.get("ready") is not True:
            found.append(request)
            if last:
                found.append(LogRequest(ref.namespace, name_of(pod), name, True))
    return found
