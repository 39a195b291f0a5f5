"""A first spec for a repository that has none, drafted from its files and charts.

`find` reads the files, `read` what the charts render to, `match` pairs Dockerfiles with images, `compose` makes the
draft and `write` its text.
"""
