"""A first spec for a repository that has none: what is in its files and charts, and what only a person knows.

`finding` reads the files, `slots` and `needs` read what the charts render to, `matching` says which Dockerfile makes
which image, `composing` makes the draft of it all, and `writing` its text. Only `finding` reads, and nothing writes.
"""
