"""Commands: what each does from top to bottom, one module a command, with the parts that several of them share.

`up`, `rollback`, `down`, `restart`, `plan`, `status`, `doctor`, `init` and `validate` are read one by one: a module is
imported by the name of its command, so that a command line starts with no more than its own.
"""
