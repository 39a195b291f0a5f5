"""Kills and faults on the real cluster: `up` and `rollback` are killed at seeded points, and things break under them.

`python -m bench.chaos kills|faults` prints a table and ends with 1 when one row of it is bad.
"""
