"""The command line: flags in, pipeline run, printer chosen, exit code out."""

from deployer.cli.entry import main

__all__ = ["main"]
