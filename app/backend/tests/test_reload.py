"""The development server of the backend: a process that has asked for new sources gets an answer."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from todo_backend import reload


def test_who_asks_for_new_sources_gets_an_answer_while_they_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(address: socket.socket, ready: int) -> int:
        os.write(ready, b"ready")
        time.sleep(60)
        return 0

    monkeypatch.setattr(reload, "_serve", serve)
    monkeypatch.setattr(reload, "CONTROL", str(tmp_path / "control"))
    with socket.socket() as address, socket.socket(socket.AF_UNIX) as control:
        control.bind(reload.CONTROL)
        control.listen()
        supervisor = reload.Supervisor(address)
        monkeypatch.setattr(reload.signal, "signal", lambda *_: None)
        serving = threading.Thread(target=supervisor.run, args=(control,))
        serving.start()
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(reload._ask()), daemon=True)
        asking.start()
        asking.join(5)
        in_time = list(answers)
        supervisor._stopping = True
        serving.join(10)
    assert in_time == [0]
