"""Plain English in, task operations out."""
