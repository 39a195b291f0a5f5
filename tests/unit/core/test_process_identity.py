"""Who is at work, and whether that run is still there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from deployer.core.process_identity import has_ended, identity, is_gone, user_and_host

HOST = socket.gethostname()


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_an_identity_tells_person_host_process_and_run() -> None:
    assert user_and_host().endswith(f"@{HOST}")
    assert identity("r7") == f"{user_and_host()} pid {os.getpid()} run r7"


def test_a_run_that_lives_is_told_from_one_that_ended(ended: int) -> None:
    parent = os.getppid()
    assert is_gone(f"ann@{HOST} pid {parent} run r1") is False
    assert is_gone(f"ann@{HOST} pid {ended} run r1") is True


def test_our_own_number_was_somebodys_who_died_before() -> None:
    assert is_gone(identity("an-older-run")) is True


def test_it_is_found_within_other_words(ended: int) -> None:
    assert is_gone(f"todo-deploy: ann@{HOST} pid {ended} run r1 (upgrade)") is True


@pytest.mark.parametrize(
    "text",
    ["", "Upgrade complete", "ann@elsewhere.invalid pid 1 run r1", f"ann@{HOST} pid x run r1", f"ann@{HOST} pid 1"],
)
def test_what_cannot_be_told_from_here_is_unknown(text: str) -> None:
    assert is_gone(text) is None


def test_a_process_of_somebody_else_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert has_ended(1) is False
