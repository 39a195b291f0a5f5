"""The command line: options, data on standard output, and the one place that exits."""

import signal

# Until `main` reports interrupts, one ends the program as it ends any other: without a trace of our imports.
_before = signal.getsignal(signal.SIGINT)
_ours = _before is signal.default_int_handler
if _ours:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from deployer.cli.entry import main  # noqa: E402

if _ours:
    signal.signal(signal.SIGINT, _before)

__all__ = ["main"]
