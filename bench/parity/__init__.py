"""Parity: what `docker build` and `helm upgrade --install` bring up by hand, `up` brings up; case by case."""
