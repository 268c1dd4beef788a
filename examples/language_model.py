"""A language model that looks back, and one as large that cannot: who remembers what was said some words ago?

    python examples/language_model.py           half a minute
    python examples/language_model.py --quick   seconds, fewer texts

System 10 of the design. The text is made here: every line states two pairs of a value and a key, then words that mean
nothing, then each key again, and its value is the next word. Only the line itself tells it.
"""

from __future__ import annotations

import argparse

import numpy as np

import harken
from harken.data.synthetic import recall

SIZES = {"pairs": 2, "keys": 8, "values": 4, "shortest": 4, "longest": 12}


def accuracy(model: harken.LanguageModel, texts: list[str], answers: list[list[int]]) -> float:
    """The share of answers that are likelier than every other value would be."""
    right = []
    for text, places in zip(texts, answers, strict=True):
        words = text.split()
        for place in places:
            before = " ".join(words[:place])
            chances = model.log_prob([f"{before} v{value}" for value in range(SIZES["values"])])
            right.append(f"v{int(chances.argmax())}" == words[place])
    return float(np.mean(right))


def main() -> None:
    """Train both on the same text, and ask about lines that they have never seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    made, unseen = recall(2_000 if quick else 6_000, seed=0, **SIZES), recall(20, seed=1, **SIZES)

    options = {"embedding_size": 96, "num_layers": 1, "memory_length": 30, "bptt": 60, "learning_rate": 0.005}
    options |= {"epochs": 4, "batch_size": 8, "show_examples": 0}
    options |= {"dropout": 0.0, "input_dropout": 0.0, "embedding_dropout": 0.0, "weight_dropout": 0.0}
    text = "\n".join(made.texts)
    for name, hidden in (("none", 120), ("dot", 96)):
        model = harken.LanguageModel(attention=name, hidden_size=hidden, **options).fit(text)
        size = sum(weight.numel() for weight in model.predictor.model.parameters())
        share = accuracy(model, unseen.texts, unseen.answers)
        print(f"attention={name}, {size:,} parameters: accuracy of the answers {share:.1%}")

    line, place = unseen.texts[0], unseen.answers[0][0]
    [attention] = model.explain([line])
    looked = attention.source_tokens[int(attention.weights[place].argmax())]
    said = attention.target_tokens[place]
    print(f"what came after {attention.source_tokens[place]} was {said}: it looked most at the state of {looked}")


if __name__ == "__main__":
    main()
