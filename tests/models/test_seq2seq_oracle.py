"""The torch model against `harken.reference.AttentionSeq2Seq`, in float64: same weights in, same everything out."""

import numpy as np
import pytest
import torch

from harken.config import Seq2SeqConfig
from harken.models.seq2seq import Seq2SeqModel, token_loss
from harken.reference import AttentionSeq2Seq

V, W, D, H = 9, 7, 3, 5
BATCHES = {  # source lengths, target lengths (the begin token counted)
    "ragged": ([6, 2, 4, 1], [2, 4, 3, 1]),
    "empty rows": ([0, 5, 3, 0], [3, 0, 4, 2]),
    "full": ([4, 4, 4], [3, 3, 3]),
    "one row": ([3], [5]),
    "nothing to read": ([0, 0], [2, 1]),
}


@pytest.fixture
def model():
    torch.manual_seed(3)
    model = Seq2SeqModel(Seq2SeqConfig(kind="attention", embedding_size=D, hidden_size=H), V, W).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)  # biases too
    return model


def reference_of(model):
    """A reference with the model's weights; a parameter too many or too few on either side is a KeyError."""
    reference = AttentionSeq2Seq(V, W, D, H, np.random.default_rng(0), np.float64)
    weights = {name.removesuffix("_l0"): array for name, array in model.state_dict().items()}
    for name in weights.keys() | reference.params.keys():
        reference.params[name][...] = weights[name].numpy()
    return reference


def batch_of(lengths):
    rng = np.random.default_rng(11)
    source_lengths, target_lengths = map(np.array, BATCHES[lengths])
    source = rng.integers(V, size=(len(source_lengths), source_lengths.max()))
    target = rng.integers(W, size=(len(target_lengths), target_lengths.max() + 1))
    return source, source_lengths, target[:, :-1], target[:, 1:], target_lengths


def wanted_of(reference, batch):
    source, source_lengths, target_in, _, target_lengths = batch
    logits, weights = reference.forward(source, source_lengths, target_in, target_lengths)
    result = {"logits": logits, "weights": weights, "loss": np.array(reference.loss(*batch))}
    reference.backward()
    return result | reference.grads


def got_of(model, batch):
    source, source_lengths, target_in, target_out, target_lengths = map(torch.tensor, batch)
    output = model(source, source_lengths, target_in, target_lengths)
    loss = token_loss(output.logits, target_out, target_lengths).sum() / target_lengths.sum()
    model.zero_grad()
    loss.backward()
    result = {"logits": output.logits, "weights": output.weights, "loss": loss}
    result |= {name.removesuffix("_l0"): parameter.grad for name, parameter in model.named_parameters()}
    return {name: tensor.detach().numpy() for name, tensor in result.items()}


def worst(got, wanted):
    """The largest ‖got - wanted‖ / ‖wanted‖; where nothing but 0 is wanted, the largest ‖got‖."""
    assert got.keys() == wanted.keys()
    return max(np.linalg.norm(got[name] - wanted[name]) / (np.linalg.norm(wanted[name]) or 1) for name in got)


@pytest.mark.parametrize("lengths", BATCHES)
def test_the_model_is_the_reference(model, lengths):
    batch = batch_of(lengths)
    assert worst(got_of(model, batch), wanted_of(reference_of(model), batch)) < 1e-10


def test_the_engines_agree_with_the_reference(model, monkeypatch):
    batch = batch_of("empty rows")
    wanted = wanted_of(reference_of(model), batch)
    for engine in ("portable", "packed"):
        monkeypatch.setenv("HARKEN_ENGINE", engine)
        assert worst(got_of(model, batch), wanted) < 1e-10


@pytest.mark.parametrize("fault", ["halves of the output layer swapped", "c starts from 0", "mask ignored"])
def test_a_fault_is_noticed(model, monkeypatch, fault):
    batch = batch_of("ragged")
    wanted = wanted_of(reference_of(model), batch)
    if fault == "halves of the output layer swapped":
        model.output.weight.data = model.output.weight.data.roll(H, dims=1)
    else:
        encode = model.encode

        def faulty(source, source_lengths):
            memory = encode(source, source_lengths)
            if fault == "mask ignored":
                return memory._replace(mask=torch.ones_like(memory.mask))
            return memory._replace(state=memory.state._replace(c=torch.zeros_like(memory.state.c)))

        monkeypatch.setattr(model, "encode", faulty)
    assert worst(got_of(model, batch), wanted) > 1e-3
