"""Measurements of the tool: programs that anyone can run, and the newest result of each under `results/`."""
