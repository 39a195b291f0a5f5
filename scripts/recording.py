"""Records the moving picture of the README from a real run: `scripts/recording.py docs/images/up.svg`.

In a copy of this repository, beside whatever runs (profile `beside`), on the cluster that runs: a first `up`, then a
version of the backend that does not start. It is played `SPEED` times as fast, but for what is typed. Needs `svg-term`
(npm: svg-term-cli) on PATH.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
COLUMNS, ROWS, SPEED, FRAME, REST = 98, 30, 4.0, 0.4, 3.0
TYPED = (
    "todo-deploy up",
    "sed -i 's/^ENTRYPOINT .*/ENTRYPOINT [\"false\"]/' dockerfiles/backend.Dockerfile",
    "todo-deploy up",
)
_LINKS = re.compile(r"\x1b\]8;[^\x1b\x07]*(?:\x1b\\|\x07)")


def main(target: Path) -> None:
    """The picture is written; what was deployed for it is gone."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        env = {
            **os.environ, "TERM": "xterm-256color", "TODO_DEPLOY_PROFILE": "beside", "COLUMNS": str(COLUMNS),
            "XDG_STATE_HOME": f"{folder}/.state", "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
        }  # fmt: skip
        down = ["todo-deploy", "down", "--yes", "--volumes", "--quiet"]
        try:
            frames = recorded(Path(folder), env)
        finally:
            subprocess.run(down, cwd=folder, env=env, check=False)
    head = {"version": 2, "width": COLUMNS + 2, "height": ROWS}  # a frame's last character reaches into the next
    lines = [head, *([round(at, 2), "o", text.replace(folder, "~/todo")] for at, text in frames)]
    cast = "".join(f"{json.dumps(line)}\n" for line in lines)
    words = ["svg-term", "--out", str(target), "--window", "--no-cursor"]
    subprocess.run(words, input=cast, encoding="utf-8", check=True)
    # Pages show it narrower than it is: without a view box it would be cropped.
    picture = target.read_text(encoding="utf-8")
    target.write_text(
        re.sub(r'width="([\d.]+)" height="([\d.]+)"', r'\g<0> viewBox="0 0 \1 \2"', picture, count=1), encoding="utf-8"
    )


def recorded(folder: Path, env: dict[str, str]) -> list[tuple[float, str]]:
    """What the commands show, by the second of the picture."""
    at, frames = 0.0, list[tuple[float, str]]()
    for command in TYPED:
        for length in range(0, len(command) + 1, 3):
            frames.append((at, f"\r$ {command[:length]}"))
            at += 0.08
        frames.append((at, f"\r$ {command}\r\n"))
        for after, text in ran(command, folder, env):
            frames.append((at + after / SPEED, text))
        at = frames[-1][0] + (REST if command.startswith("todo") else 0.5)
    frames.append((at, " "))
    return frames


def ran(command: str, folder: Path, env: dict[str, str]) -> list[tuple[float, str]]:
    """What the command writes to a terminal, in pieces of `FRAME` seconds of the picture."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    child = subprocess.Popen(["bash", "-c", command], cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    begun, pieces = time.monotonic(), dict[int, bytes]()
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        piece = int((time.monotonic() - begun) / SPEED / FRAME)
        pieces[piece] = pieces.get(piece, b"") + data
    child.wait()
    os.close(ours)
    return [(piece * FRAME * SPEED, _LINKS.sub("", data.decode("utf-8", "replace"))) for piece, data in pieces.items()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
