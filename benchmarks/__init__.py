"""One file per claim of the README; each prints a table against its peer, measured in the same run.

`python -m benchmarks.NAME [--quick] [--json FILE]` (or `make bench NAME=NAME`) measures;
`python -m benchmarks.render` writes RESULTS.md from what was measured.

    VERSION = … in it     a benchmark: demo, startup, dates, date_epoch, engine
    …_once.py             what one of them starts, in a process of its own, to measure one thing
    peers/                the same for what harken is compared with, where that imports nothing of harken
    harness.py            what all of them share; pairs.py: the two files of pairs
    work.py, turns.py, contenders.py, ceiling.cpp, engine_pictures.py
                          of engine: FLOP and lengths, the clock, ways to train a layer, the machine's limit, drawing
"""
