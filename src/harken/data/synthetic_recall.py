"""Text whose next word is known to those who look back, made here, seeded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from harken.errors import DataError

_FILLERS = 4  # words that mean nothing


class Recall(NamedTuple):
    """Episodes, each a line of text, and at which of its words the answers stand, counted from 0."""

    texts: list[str]
    answers: list[list[int]]


def recall(
    n: int, seed: int, *, pairs: int = 16, keys: int = 64, values: int = 16, shortest: int = 50, longest: int = 200
) -> Recall:
    """Episodes that say values of keys, and then every key again with its value: "v3 k17 v8 k2 w1 w0 … ? k2 v8 k17 v3".

    The associative retrieval of Ba et al. 2016, section 4.1, as running text. First an episode states pairs, each a
    value and its key; then come words that mean nothing; then a question mark, and each key in another order, its value
    after it: the answers. Values are drawn anew in every episode, so that nothing but the statement tells an answer.

    Who attends to past states can know it: an LSTM's state where a key is stated holds the key and, from the step
    before, its value; the state where the key comes again holds the key, so that it finds the other, and what it finds
    there holds the answer. That is ``shortest`` to ``longest`` words back. Who does not attend has to carry all pairs
    of the episode in one state. A key rests for two episodes, so that no other statement of it is as near.

    Args:
        n: episodes.
        seed: decides everything.
        pairs: stated in an episode, all of different keys.
        keys, values: how many there are to choose from.
        shortest, longest: from where a key is stated to where it comes again, in words.

    Raises:
        DataError: no such episodes: too few keys for so many pairs, or too little room between the distances.
    """
    if min(n, pairs - 1, values - 1) < 0:
        raise DataError(f"n ({n}) must be at least 0, pairs ({pairs}) and values ({values}) at least 1")
    if keys < 4 * pairs:
        raise DataError(f"keys ({keys}) must be four times pairs ({pairs}) at least, so that a key rests for two")
    least, most = shortest - 2, longest - (4 * pairs - 2)  # fillers, for the two pairs that are nearest and farthest
    if not 0 <= least <= most:
        raise DataError(
            f"shortest ({shortest}) must be at least 2, and longest ({longest}) at least {4 * pairs - 4} more: so far "
            f"apart are {pairs} pairs"
        )
    generator = np.random.default_rng(seed)
    rested = generator.permutation(keys)  # those used longest ago come first
    texts, answers = [], []
    for _ in range(n):
        chosen = generator.permutation(keys // 2)[:pairs]
        stated = rested[chosen]
        rested = np.concatenate([np.delete(rested, chosen), stated])
        value_of = generator.integers(values, size=pairs)
        fillers = generator.integers(_FILLERS, size=generator.integers(least, most + 1))
        asked = generator.permutation(pairs)
        words = [f"v{value_of[pair]} k{stated[pair]}" for pair in range(pairs)]
        words += [f"w{filler}" for filler in fillers]
        words += ["?", *(f"k{stated[pair]} v{value_of[pair]}" for pair in asked)]
        texts.append(" ".join(words))
        first = 2 * pairs + len(fillers) + 2
        answers.append([first + 2 * place for place in range(pairs)])
    return Recall(texts, answers)
