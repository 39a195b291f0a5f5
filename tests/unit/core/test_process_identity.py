"""Who is at work, and whether that run is still there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from deployer.core.process import has_ended, identity, is_gone, machine, start_time, user_and_host

HOST = socket.gethostname()
ON = f"on {machine()}"


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_an_identity_shows_person_host_process_and_run() -> None:
    assert user_and_host().endswith(f"@{HOST}")
    assert identity("r7") == f"{user_and_host()} pid {os.getpid()} run r7 {ON}"


def test_a_run_that_lives_is_distinguished_from_one_that_ended(ended: int) -> None:
    parent = os.getppid()
    assert is_gone(f"ann@{HOST} pid {parent} run r1 {ON}") is False
    assert is_gone(f"ann@{HOST} pid {ended} run r1 {ON}") is True


def test_our_own_number_was_somebodys_who_died_before() -> None:
    assert is_gone(identity("an-older-run")) is True


def test_it_is_found_within_other_words(ended: int) -> None:
    assert is_gone(f"todo-deploy: ann@{HOST} pid {ended} run r1 {ON} (upgrade)") is True


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Upgrade complete",
        f"ann@{HOST} pid x run r1 {ON}",
        f"ann@{HOST} pid 1",
        f"ann@{HOST} pid 4194304 run r1",  # an older version's: a machine of the same name may have left it
        f"ann@{HOST} pid 4194304 run r1 on 0123456789abcdef-4026531836",
    ],
)
def test_what_cannot_be_known_on_this_machine_is_unknown(text: str) -> None:
    assert is_gone(text) is None


def test_a_process_of_somebody_else_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert has_ended(1) is False


def test_a_process_that_has_the_number_of_an_ended_one_is_not_it() -> None:
    parent = os.getppid()
    assert has_ended(parent, start_time(parent)) is False
    assert has_ended(parent, "1") is True
    assert has_ended(parent, "") is False, "without a start time the number is all there is"
