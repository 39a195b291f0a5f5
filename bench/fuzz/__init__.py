"""Everything that others write, mutated: whatever is in it, no command ends with exit code 1 or a traceback."""
