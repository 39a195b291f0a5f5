"""Runs `up` and writes the picture of its screen: `scripts/picture.py docs/up.svg [PATH=VALUE of --set …]`."""

from __future__ import annotations

import sys
from pathlib import Path

from deployer.cli.options import Session
from deployer.cli.up import run_up
from deployer.commands.up import UpOptions
from deployer.ui.live import export_svg


def main(target: Path, overrides: tuple[str, ...]) -> int:
    """The exit code of `up`; the picture is written when it ended well."""
    ran = run_up(Session(overrides=overrides), UpOptions(run=""))
    if ran.value is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(export_svg(ran.view, "todo-deploy up", width=96))
    return ran.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), tuple(sys.argv[2:])))
