"""The rules that a deployment must keep before anything is built: pure functions of what charts render to."""
