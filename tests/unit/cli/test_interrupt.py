"""Ctrl-C before the program can tell of it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# At the first of our own imports, Ctrl-C is pressed.
PRESSED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "deployer.cli.entry":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.{before})
import deployer.cli
print(signal.getsignal(signal.SIGINT).__name__)
"""


@pytest.mark.parametrize(
    ("before", "ended", "printed"), [("default_int_handler", -signal.SIGINT, ""), ("SIG_IGN", 0, "SIG_IGN")]
)
def test_an_interrupt_while_the_program_loads_ends_it_without_a_trace(before: str, ended: int, printed: str) -> None:
    code = PRESSED.format(before=before).replace(".__name__", ".name" if before == "SIG_IGN" else ".__name__")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (ended, printed, "")


def test_loading_the_program_leaves_interrupts_as_they_were() -> None:
    code = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nimport deployer.cli\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "True"
