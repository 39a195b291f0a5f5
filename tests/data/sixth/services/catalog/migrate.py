"""Brings what is on the shelf to the schema of this version; waits for a shelf that is still being put up."""

from __future__ import annotations

import sys
import time

from catalog import shelf

SCHEMA = 2


def main() -> int:
    """0 once the shelf has the schema, 1 when there is none within a minute and a half."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            before = shelf("schema")
            shelf("schema", SCHEMA)
            print(f"schema {before} -> {SCHEMA}", flush=True)
            return 0
        except OSError as error:
            print(f"the shelf is not there yet: {error}", flush=True)
            time.sleep(1)
    return 1


if __name__ == "__main__":
    sys.exit(main())
