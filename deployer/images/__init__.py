"""The clients of image daemons and scanners, and which images nothing refers to any more."""
