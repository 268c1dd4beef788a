"""One file per claim of the README; each prints a table against its peer, measured in the same run.

`python -m benchmarks.NAME [--quick] [--json FILE]` (or `make bench NAME=NAME`) measures;
`python -m benchmarks.render` writes RESULTS.md from what was measured.
"""
