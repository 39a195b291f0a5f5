from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deployer.core import process
from deployer.core.errors import DeployError, input_error
from deployer.core.events import Log
from deployer.core.process import CommandFailed, run, stream
from deployer.core.steps import Steps, merge
from tests.fakes.play import failed
from tests.processes import runs

WAIT = 20.0


def script(text: str) -> list[str]:
    return [sys.executable, "-u", "-c", text]


def gone(pid: int) -> bool:
    """Whether the process ends within some time; see `runs`."""
    for _ in range(int(WAIT / 0.02)):
        if not runs(pid):
            return True
        time.sleep(0.02)
    return False


def test_run_returns_standard_output_alone() -> None:
    text = "import sys; print('out'); print('err', file=sys.stderr)"
    assert run(script(text)) == "out\n"


def test_run_gives_input_environment_and_folder(tmp_path: Path) -> None:
    text = "import os, sys; print(sys.stdin.read(), os.environ.get('A'), os.environ.get('HOME'), os.getcwd())"
    assert run(script(text), input="in", env={"A": "1"}, cwd=tmp_path).split() == ["in", "1", "None", str(tmp_path)]


def test_run_has_no_terminal_to_ask_at() -> None:
    assert run(script("import sys; print(repr(sys.stdin.read()))")) == "''\n"


def test_a_failed_run_carries_its_status_and_its_last_words() -> None:
    text = "import sys; print('x'); [print(n, file=sys.stderr) for n in range(100)]; sys.exit(3)"
    with pytest.raises(CommandFailed) as caught:
        run(script(text))
    assert caught.value.returncode == 3
    assert caught.value.tail[-1] == "99"
    assert len(caught.value.tail) == 20


def test_the_error_names_the_program_and_not_its_arguments() -> None:
    with pytest.raises(CommandFailed) as caught:
        run([*script("raise SystemExit(1)"), "canary-value"])
    assert "canary-value" not in str(caught.value)


def test_bytes_that_are_no_text_are_no_failure() -> None:
    assert "x" in run(script(r"import sys; sys.stdout.buffer.write(b'\xffx\n')"))


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(script("import time; time.sleep(60)"), timeout=0.2)


def test_a_program_that_is_not_there_is_said_so() -> None:
    with pytest.raises(FileNotFoundError):
        run(["/nowhere/program"])


def test_stream_yields_both_outputs_line_by_line_as_they_come(tmp_path: Path) -> None:
    go = tmp_path / "go"
    text = (
        "import sys, time, pathlib\nprint('first')\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n"
        "print('second', file=sys.stderr)\nsys.stdout.write('no end')"
    )
    lines = stream(script(text))
    assert next(lines) == "first"
    go.touch()
    assert list(lines) == ["second", "no end"]


def test_a_failed_stream_carries_the_tail() -> None:
    lines = stream(script("[print(n) for n in range(500)]; raise SystemExit(4)"))
    seen = []
    with pytest.raises(CommandFailed) as caught:
        seen.extend(lines)
    assert caught.value.returncode == 4
    assert caught.value.tail[-1] == "499"
    assert len(caught.value.tail) < 500


FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(child.pid)
time.sleep(300)
"""


def test_giving_up_a_stream_ends_the_program_and_its_children() -> None:
    lines = stream(script(FAMILY))
    child = int(next(lines))
    lines.close()
    assert gone(child)


def test_the_program_is_asked_before_it_is_forced(tmp_path: Path) -> None:
    note = tmp_path / "note"
    text = (
        "import signal, sys, time, pathlib\n"
        f"def end(*_): pathlib.Path({str(note)!r}).write_text('put away'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('ready')\ntime.sleep(300)"
    )
    lines = stream(script(text))
    assert next(lines) == "ready"
    lines.close()
    assert note.read_text() == "put away"


def test_a_program_that_will_not_go_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    text = "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid())\ntime.sleep(300)"
    lines = stream(script(text))
    pid = int(next(lines))
    lines.close()
    assert gone(pid)


def test_ctrl_c_does_not_reach_the_program_by_itself() -> None:
    lines = stream(script("import os, time; print(os.getsid(0)); time.sleep(300)"))
    session = int(next(lines))
    lines.close()
    assert session != os.getsid(0)


def test_a_merge_that_is_given_up_ends_a_silent_program() -> None:
    pids: list[int] = []
    began = threading.Event()

    def silent() -> Steps[None]:
        for line in stream(script("import os, time; print(os.getpid()); time.sleep(300)")):
            pids.append(int(line))
            began.set()
            yield Log("s", "i", line)

    def bad() -> Steps[None]:
        assert began.wait(WAIT)
        yield Log("s", "bad", "x")
        raise input_error("BAD", "wrong")

    _, error = failed(merge({"silent": silent, "bad": bad}))
    assert isinstance(error, DeployError) and error.problems[0].code == "BAD"
    assert gone(pids[0])


def test_what_runs_too_long_is_ended_and_nothing_of_it_stays_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        list(process.waited(["sleep", "60"], env=os.environ, timeout=0.05, every=0.05))
    assert raised.value.cmd[0] == "sleep"
    assert len(list(Path("/proc/self/fd").iterdir())) == before
