"""Where one word decides, attention and gradients find it and chance does not; where attention lies, it is said."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from harken.data.answers import as_labels
from harken.data.batching import ModelInputs
from harken.data.encoding import Encoded
from harken.data.inputs import Inputs, as_inputs
from harken.data.labels import encode
from harken.errors import DataError, UsageError
from harken.explain import faithfulness
from harken.explain.attribution import attribute
from harken.explain.faithfulness import PERCENTS, Faithfulness, Order, believe, rank_correlation
from harken.models.heads import head_loss
from harken.models.sequence import SequenceOutput
from harken.predictor.sequence import SequencePredictor

Predict = Callable[..., SequencePredictor]
NOISE = ["the", "of", "a", "and", "to", "in", "it", "is", "was", "that", "for", "on", "with", "as", "at"]


def inputs_of(predictor: SequencePredictor, rows: object) -> Inputs:
    return as_inputs(rows, predictor.config.data, predictor.config.task)


def planted(count: int, words: int) -> tuple[list[str], list[str]]:
    """Texts of noise; in every second one, one word is ``good``, and that is what makes it positive."""
    generator = torch.Generator().manual_seed(0)
    texts, labels = [], []
    for row in range(count):
        drawn = [NOISE[i] for i in torch.randint(len(NOISE), (words,), generator=generator).tolist()]
        if row % 2:
            drawn[int(torch.randint(words, (), generator=generator))] = "good"
        texts.append(" ".join(drawn))
        labels.append("pos" if row % 2 else "neg")
    return texts, labels


def train(predictor: SequencePredictor, rows: object, answers: object, steps: int = 60) -> None:
    encoded: Encoded = predictor.encoder.encode(inputs_of(predictor, rows))
    (head,) = predictor.heads
    target = encode(head, as_labels(answers, predictor.config.task).columns[head.name])
    batch = encoded.batch(torch.arange(len(target)))
    torch.manual_seed(0)
    for parameter in predictor.model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    adam = torch.optim.Adam(predictor.model.parameters(), 0.03)
    for _ in range(steps):
        adam.zero_grad()
        loss = head_loss(head, predictor.model(batch).logits[head.name], target).mean()
        loss.backward()
        adam.step()
    assert loss.item() < 0.05, "it did not learn"
    predictor.model.zero_grad()


def test_one_word_decides(predict: Predict) -> None:
    texts, labels = planted(64, 20)
    predictor = predict(texts, labels)
    train(predictor, texts, labels)
    found = believe(predictor, inputs_of(predictor, texts[1::2]))
    assert found.rows == 32
    assert found.gradients.comprehensiveness > 0.9
    assert found.attention.comprehensiveness > 0.8
    expected = sum(-(-20 * percent // 100) for percent in PERCENTS) / 20 / len(PERCENTS)  # that chance takes the word
    assert found.random.comprehensiveness == pytest.approx(expected, abs=0.08)
    assert found.gradients.sufficiency < 0.1
    assert found.random.sufficiency > 0.5
    assert found.error < 0.01
    assert "attention points at what matters" in found.verdict()
    assert found.sentence() == (
        f"On 32 rows, removing the 1 to 50% of words with most attention lowers the probability of the answer by "
        f"{found.attention.comprehensiveness:.2f} on average (integrated gradients "
        f"{found.gradients.comprehensiveness:.2f}, random words {found.random.comprehensiveness:.2f}), keeping only "
        f"them by {abs(found.attention.sufficiency):.2f} ({abs(found.gradients.sufficiency):.2f}, "
        f"{found.random.sufficiency:.2f}), rank correlation {found.correlation:.2f}: {found.verdict()}."
    )
    numbers = found.numbers()
    assert numbers["comprehensiveness"]["gradients"] == found.gradients.comprehensiveness
    assert len(numbers["removed"]["random"]) == len(PERCENTS)


def test_attention_that_lies(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: weights that point anywhere but at the word that decides."""
    texts, labels = planted(64, 20)
    predictor = predict(texts, labels)
    train(predictor, texts, labels)
    answer = SequencePredictor.answer

    def lies(self: SequencePredictor, batch: object) -> object:
        output = answer(self, batch)
        lie = (output.weights.max() - output.weights).softmax(-1)
        return output._replace(weights=lie)

    monkeypatch.setattr(SequencePredictor, "answer", lies)
    found = believe(predictor, inputs_of(predictor, texts[1::2]))
    assert found.attention.comprehensiveness < found.random.comprehensiveness
    assert found.verdict() == ("do not read the attention as a reason, random words do as well and gradients do better")


def test_a_peak_in_a_series(predict: Predict) -> None:
    """The value is the height of one peak; flattened, it is gone. Lengths differ."""
    generator = torch.Generator().manual_seed(1)
    rows, heights = [], []
    for row in range(48):
        curve = 0.05 * torch.randn(10 + row % 11, 1, generator=generator)
        height = float(torch.rand((), generator=generator)) + 0.5
        curve[int(torch.randint(len(curve), (), generator=generator))] += height
        rows.append(curve)
        heights.append(height)
    predictor = predict(rows, heights, "regress", convolution=0, bidirectional=False, standardize="none")
    train(predictor, rows, heights, steps=150)
    found = believe(predictor, inputs_of(predictor, rows))
    assert found.kind == "value"
    assert found.gradients.comprehensiveness > 2 * found.random.comprehensiveness
    assert (
        "setting the 1 to 50% of steps with most attention to the channels' mean moves the answer by"
        in found.sentence()
    )
    assert "standard deviations on average" in found.sentence()


@pytest.mark.parametrize(
    "answers",
    [
        {"h": ["a", "b"] * 6},
        {"h": list("abc") * 4},
        {"h": [["x"], ["x", "y"], []] * 4},
        {"h": list("abc") * 4, "other": ["a", "b"] * 6},
        {"h": [float(row) for row in range(12)]},
    ],
    ids=["binary", "classes", "multi-label", "two heads", "values"],
)
@pytest.mark.parametrize("binary", ["one-logit", "two-logits"])
def test_by_hand(predict: Predict, answers: dict, binary: str) -> None:
    """The oracle: each row alone, its words removed as text, answers from the predictor's own."""
    texts = ["one two three four", "five six seven eight nine ten", "one ten", "six"] * 3
    task = "regress" if isinstance(answers["h"][0], float) else "classify"
    predictor = predict(texts, answers, task, binary=binary, num_heads=2, tokens="word")
    head = predictor.heads[-1]
    found = believe(predictor, inputs_of(predictor, texts), head=head.name)

    def answer(text: str) -> torch.Tensor:
        asked = predictor.logits if task == "regress" else predictor.probabilities
        return asked(inputs_of(predictor, [text]))[head.name][0].double()

    def dropped(whole: torch.Tensor, left: torch.Tensor) -> float:
        if task == "regress":
            return float((whole - left).abs())
        answered = whole == whole.max()
        if head.kind == "multi-label" and (whole > 0.5).any():
            answered = whole > 0.5
        return float(whole[answered].mean() - left[answered].mean())

    by_hand: dict[str, list[list[list[float]]]] = {"attention": [], "gradients": []}  # (n, 5, 2)
    correlations, lowering = [], 0
    for text in texts:
        words, whole = text.split(), answer(text)
        (batch,) = predictor.batches(inputs_of(predictor, [text]))
        attention = predictor.answer(batch).weights[0].mean(0)
        (gradients,) = attribute(predictor.model, batch.inputs, head).steps
        if len(words) > 1:
            correlations.append(spearmanr(attention, gradients.abs()).statistic)
        order = gradients.abs() if task == "regress" else gradients
        lowering += int(gradients[order.argmax()] < 0)
        for name, scores in (("attention", attention), ("gradients", order)):
            drops = []
            for percent in PERCENTS:
                top = set(scores.argsort(descending=True)[: -(-len(words) * percent // 100)].tolist())
                parts = (set(range(len(words))) - top, top)
                left = [" ".join(word for place, word in enumerate(words) if place in keep) for keep in parts]
                drops.append([dropped(whole, answer(text)) for text in left])
            by_hand[name].append(drops)
    for name, drops in by_hand.items():
        order = getattr(found, name)
        measured = torch.stack([order.removed, order.kept], 2)  # in the order of the batches
        torch.testing.assert_close(
            torch.tensor(sorted(measured.tolist())), torch.tensor(sorted(drops)), atol=1e-5, rtol=1e-4
        )
    assert sorted(found.correlations.tolist()) == pytest.approx(sorted(correlations), abs=1e-5)
    if task == "regress":
        assert lowering, "in no row is the step that decides one that lowers the value"


def test_a_step_that_lowers_the_value_decides_too(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    """One word takes 5 away and the others add little: it comes first, though its gradient is the least."""
    texts, sizes = ["one two bad three four"], {"one": 0.5, "two": 0.25, "bad": -5.0, "three": 0.125, "four": 0.0}
    predictor = predict([*texts, "one"], [1.0, 2.0], "regress", tokens="word")
    worth = {int(predictor.encoder.tokenizers["input"].encode([word])[0][0]): size for word, size in sizes.items()}

    def forward_embedded(x: torch.Tensor, inputs: ModelInputs) -> SequenceOutput:
        value = x[..., 0].sum(1, keepdim=True)  # (B, 1)
        return SequenceOutput({"label": value}, torch.ones_like(x[:, None, :, 0]), None, inputs.lengths)

    monkeypatch.setattr(predictor.model, "forward_embedded", forward_embedded)
    with torch.no_grad():
        predictor.model.frontend.embedding.weight.zero_()
        for id, size in worth.items():
            predictor.model.frontend.embedding.weight[id, 0] = size
    found = believe(predictor, inputs_of(predictor, texts))
    assert found.gradients.removed[0, 0].item() == 5.0
    assert found.gradients.kept[0, 0].item() == 0.875


def test_it_can_be_repeated(predict: Predict) -> None:
    texts, labels = planted(12, 6)
    predictor = predict(texts, labels)
    inputs = inputs_of(predictor, texts)
    first, again, other = believe(predictor, inputs), believe(predictor, inputs), believe(predictor, inputs, seed=1)
    assert torch.equal(first.random.removed, again.random.removed)
    assert not torch.equal(first.random.removed, other.random.removed)
    assert torch.equal(first.attention.removed, other.attention.removed)


def test_empty_rows_are_left_out(predict: Predict) -> None:
    texts, labels = planted(6, 4)
    predictor = predict([*texts, "", " "], [*labels, "pos", "neg"])
    assert believe(predictor, inputs_of(predictor, [*texts, "", " "])).rows == 6
    with pytest.raises(DataError, match="none of the 2 rows"):
        believe(predictor, inputs_of(predictor, ["", " "]))


def test_what_cannot_be_believed(predict: Predict) -> None:
    texts, labels = planted(6, 4)
    blind = predict(texts, labels, pooling="max")
    with pytest.raises(UsageError, match="pooling=max"):
        believe(blind, inputs_of(blind, texts))
    rows = [text.split() for text in texts]
    tagger = predict(rows, [["A", "B", "A", "B"]] * 6, "tag")
    with pytest.raises(UsageError, match="tagger"):
        believe(tagger, inputs_of(tagger, rows))


def test_frames_of_a_spectrogram(predict: Predict) -> None:
    rows = [torch.randn(4 + row % 3, 8) for row in range(8)]
    predictor = predict(rows, ["a", "b"] * 4, input="spectrogram", cnn=4, cnn_layers=1)
    found = believe(predictor, inputs_of(predictor, rows), points=4)
    assert found.rows == 8
    assert "setting the 1 to 50% of frames with most attention to the channels' mean" in found.sentence()


@pytest.mark.parametrize(
    ("kind", "shape", "words"),
    [("image", (12, 12, 3), "cells of a picture overlap"), ("audio", (300,), "frames of a recording overlap")],
)
def test_what_cannot_be_taken_out(predict: Predict, kind: str, shape: tuple[int, ...], words: str) -> None:
    rows = [
        (255 * np.random.default_rng(row).random(shape)).astype("uint8" if kind == "image" else "float32")
        for row in (0, 1)
    ]
    reading = {"image_size": 12} if kind == "image" else {"sample_rate": 2000, "mels": 8}
    predictor = predict(rows, ["a", "b"], input=kind, cnn=4, cnn_layers=1, **reading)
    with pytest.raises(UsageError, match=words):
        believe(predictor, inputs_of(predictor, rows))


# The verdict


def made(attention: float, gradients: float, random: float, rows: int = 50, spread: float = 0.1) -> Faithfulness:
    def order(mean: float) -> Order:
        noise = torch.randn(rows, len(PERCENTS)) if rows > 1 else torch.zeros(1, len(PERCENTS))
        return Order(mean + spread * (noise - noise.mean()), torch.zeros(rows, len(PERCENTS)))

    torch.manual_seed(0)
    orders = order(attention), order(gradients), order(random)
    return Faithfulness("label", "words", "probability", False, *orders, torch.zeros(0), 0.0)


@pytest.mark.parametrize(
    ("attention", "gradients", "random", "verdict"),
    [
        (0.35, 0.42, 0.08, "attention points at what matters, less sharply than gradients"),
        (0.42, 0.42, 0.08, "attention points at what matters, as sharply as gradients"),
        (0.52, 0.42, 0.08, "attention points at what matters, more sharply than gradients"),
        (0.15, 0.42, 0.05, "attention points at what matters, far less sharply than gradients, so believe those"),
        (0.08, 0.42, 0.08, "do not read the attention as a reason, random words do as well and gradients do better"),
        (0.01, 0.01, 0.01, "no few words decide here, so neither attention nor gradients can point at them"),
    ],
)
@pytest.mark.parametrize("rows", [1, 2, 50])
def test_verdicts(attention: float, gradients: float, random: float, verdict: str, rows: int) -> None:
    found = made(attention, gradients, random, rows, spread=0.1 if rows > 2 else 0.001)
    if rows == 1:
        verdict = "one row says nothing about the others, so give more"
    assert found.verdict() == verdict
    assert found.sentence().startswith(f"On {rows} row{'s' if rows > 1 else ''}, ")
    assert "rank correlation none: " in found.sentence()
    assert "-0.00" not in found.sentence()


def test_a_difference_within_the_noise_is_none() -> None:
    assert made(0.12, 0.42, 0.08, rows=10, spread=1.0).verdict().startswith("do not read")


def test_rank_correlation() -> None:
    generator = torch.Generator().manual_seed(0)
    for size in (2, 5, 40):
        a = torch.randint(0, 6, (size,), generator=generator).float()
        b = torch.rand(size, generator=generator)
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(torch.ones(3), torch.rand(3)) is None
    assert rank_correlation(torch.ones(1), torch.ones(1)) is None


def test_the_size_of_a_batch_does_not_matter(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = planted(20, 4)
    predictor = predict(texts, labels)
    whole = believe(predictor, inputs_of(predictor, texts))
    monkeypatch.setattr(faithfulness, "BATCH_SIZE", 3)
    parts = believe(predictor, inputs_of(predictor, texts))
    torch.testing.assert_close(whole.attention.removed, parts.attention.removed)
    torch.testing.assert_close(whole.gradients.kept, parts.gradients.kept)
