"""Writes deployer/toolchain/pins.json from the checksum files that upstream publishes; needs upstream's hosts."""

from __future__ import annotations

import json
import sys

from deployer.core.errors import DeployError
from deployer.toolchain.download import PINS, published_pins
from deployer.toolchain.pins import DOWNLOADS


def main() -> int:
    """0 when every program has the checksum of every platform; else the pins are as they were."""
    try:
        pins = published_pins(DOWNLOADS)
    except DeployError as error:
        for problem in error.problems:
            print(f"{problem.title}: {problem.where}\n{problem.detail}", file=sys.stderr)
        return int(error.exit_code)
    PINS.write_text(json.dumps(pins, indent=2) + "\n", encoding="utf-8")
    print(f"{PINS.name}: {', '.join(f'{item.name} {item.version}' for item in DOWNLOADS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
