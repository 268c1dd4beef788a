"""Teach a network to rewrite dates and see where it looks: "27 sept 1994" → "1994-09-27".

    python examples/dates.py --quick
    python examples/dates.py --data ../shared/data/dates/date.txt.gz --out runs/dates

System 1 of the design: an encoder LSTM reads the date from its end, a decoder LSTM writes it anew, and attention
between the decoder LSTM and the output layer looks back at every character of the input. `numpy_dates.py` beside
this file is the same network with nothing but NumPy. Without ``--data`` the dates are made up.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import mkdtemp

from harken import Seq2Seq
from harken.config import DataConfig
from harken.data.sources import read_pairs
from harken.data.splits import split_by_hash
from harken.data.synthetic import dates
from harken.explain.heatmap import draw

FULL = {"hidden_size": 256, "epochs": 3}
QUICK = {"hidden_size": 48, "epochs": 4, "batch_size": 32, "learning_rate": 0.01}


def main(arguments: list[str] | None = None) -> float:
    """Train, test on dates that were held out, compare three ways to decode, draw a heat map."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="lines source_target, plain or .gz; default: made-up dates")
    parser.add_argument("--out", type=Path, help="folder of the run; default: a temporary one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a small network and few rows: a few seconds")
    options = parser.parse_args(arguments)
    rows, size = (4_000, QUICK) if options.quick else (50_000, FULL)
    out = options.out or Path(mkdtemp()) / "dates"

    if options.data:
        pairs = read_pairs(options.data, DataConfig(delimiter="_"))
        sources, targets = pairs.sources[:rows], (pairs.targets or [])[:rows]
    else:
        sources, targets = dates(rows, seed=options.seed)
    # By a hash of the input: a date that occurs twice is learned or tested on, never both.
    kept, held_out = split_by_hash([source.strip() for source in sources], 0.1)
    unseen, answers = [sources[row] for row in held_out], [targets[row] for row in held_out]
    model = Seq2Seq(embedding_size=16, reverse_source=True, seed=options.seed, **size)
    # A tenth of what is kept chooses the epoch.
    model.fit([sources[row] for row in kept], [targets[row] for row in kept], out=out, show=print)

    exact_match = model.score(unseen, answers)
    print(f"\nexact match on {len(unseen):,} held-out dates: {exact_match:.2%}")
    for decoder in ("greedy", "beam", "sample"):
        how = model.config.decoding.model_copy(update={"decoder": decoder})
        said = model.predict_with_probability(unseen[:1], decoding=how)
        print(f"  {decoder}: {unseen[0].strip()} → {said.texts[0]} (probability {said.probabilities[0]:.3f})")

    print(f"\n{model.summary().table()}")
    draw(model.explain(unseen[:1])[0], out / "map.png")
    print(f"\nwhere it looked: {out / 'map.png'}")
    return exact_match


if __name__ == "__main__":
    main()
