"""The contract (design.md section 2) of every kind of input, pooling and head."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

import pytest
import torch
from torch import Tensor, nn

import harken.layers.pooling as pooling
import harken.models.sequence as sequence
from harken.config import InputKind, SequenceModelConfig
from harken.data.batching import ModelInputs, Pieces
from harken.data.labels import Head
from harken.errors import ShapeError, UsageError
from harken.layers.masks import mask_from_lengths
from harken.models.heads import head_loss
from harken.models.sequence import SequenceModel
from harken.testing import check_padding

V, C, D, L = 11, 7, 3, 4  # token ids, character ids, channels, steps of a piece
KINDS = tuple(kind for kind in get_args(InputKind) if kind not in ("image", "audio"))  # test_convolutional.py has these
POOLINGS = get_args(get_args(SequenceModelConfig.model_fields["pooling"].annotation)[0])
MANY_HEADS = ("attention", "attention-linear", "self-attention", "self-attention-query")
ATTENDING = (*MANY_HEADS, "query", "gated", "gated-query")
ROWS = (
    Head("sick?", "binary", 1, ("no", "yes")),
    Head("a.b", "binary", 2, (0, 1)),
    Head("colour", "classes", 4, ("r", "g", "b", "y")),
    Head("topics", "multi-label", 3, ("a", "b", "c")),
    Head("size", "values", 2, (), (1.0, 2.0), (3.0, 4.0)),
)
STEPS = (Head("tag", "tags", 4, ("N", "V", "X", "Y")), Head("chunk", "tags", 2, ("B", "I")))
LENGTHS = torch.tensor([3, 0, 5, 1])

every_kind = pytest.mark.parametrize("kind", KINDS)
every_pooling = pytest.mark.parametrize("pooling", POOLINGS)
rows_or_steps = pytest.mark.parametrize("heads", [ROWS, STEPS], ids=["rows", "steps"])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def config(**options: Any) -> SequenceModelConfig:
    settled = {
        "embedding_size": 4,
        "hidden_size": 3,
        "num_layers": 1,
        "bidirectional": True,
        "dropout": 0.0,
        "embedding_dropout": 0.0,
        "word_dropout": 0.0,
        "rare_word_dropout": 0.0,
        "convolution": 0,
        "kernel_size": 3,
        "pooling": "attention",
        "mlp_size": 0,
        "character_size": 2,
        "character_hidden": 3,
        "cnn": 2,
        "cnn_layers": 1,
    }
    return SequenceModelConfig(**{**settled, **options})


def build(kind: InputKind, heads: tuple[Head, ...] = ROWS, **options: Any) -> SequenceModel:
    model = SequenceModel(config(**options), kind, heads, vocabulary=V, width=D, characters=C).double()
    with torch.no_grad():
        for k, parameter in enumerate(model.parameters()):  # biases too: a zero bias hides mistakes
            parameter.copy_(0.7 * random(*parameter.shape, seed=100 + k))
    return model.eval()


def some(kind: InputKind, lengths: Tensor) -> Tensor:
    """Rows of a kind as one tensor (B, T, ...), with something other than zeros in the padding."""
    batch, steps = len(lengths), int(lengths.max()) + 1
    if kind in ("series", "vectors", "spectrogram"):
        return random(batch, steps, D)
    shape = {"words": (batch, steps, 1 + L), "sentences": (batch, steps, L)}.get(kind, (batch, steps))
    return torch.randint(C, shape, generator=torch.Generator().manual_seed(3))


def as_inputs(kind: InputKind, x: Tensor, lengths: Tensor) -> ModelInputs:
    """`some` as the loader gives it; a piece is as long as it has ids that are not 0."""
    if kind not in ("words", "sentences"):
        return ModelInputs(x, lengths, None)
    mask = mask_from_lengths(lengths, x.shape[1])
    spelled = x[..., 1:] if kind == "words" else x
    distinct, which = torch.unique(spelled[mask], dim=0, return_inverse=True)  # (N, L), (steps,)
    index = torch.zeros(mask.shape, dtype=torch.int64).masked_scatter(mask, which)  # (B, T)
    pieces = Pieces(distinct, (distinct != 0).sum(1), index)
    return ModelInputs(x[..., 0] if kind == "words" else index, lengths, pieces)


class Answers(NamedTuple):
    logits: dict[str, Tensor]
    weights: Tensor | None


class Callable(nn.Module):
    """A model as a function of one tensor and lengths."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, lengths: Tensor) -> Answers:
        logits, weights, *_ = self.model(as_inputs(self.model.kind, x, lengths))
        return Answers(logits, weights)


def check(model: SequenceModel, dtype: torch.dtype = torch.float64, lengths: Tensor = LENGTHS) -> Any:
    return check_padding(Callable(model), some(model.kind, lengths), lengths, dtype=dtype)


# --- the contract -------------------------------------------------------------------------------------------------


@every_kind
@every_pooling
def test_the_contract(kind: InputKind, pooling: str) -> None:
    check(build(kind, pooling=pooling)).raise_if_failed()


@every_kind
@rows_or_steps
def test_the_contract_in_float32(kind: InputKind, heads: tuple[Head, ...]) -> None:
    check(build(kind, heads), torch.float32).raise_if_failed()


@every_pooling
def test_the_contract_of_every_pooling_in_float32(pooling: str) -> None:
    check(build("text", pooling=pooling), torch.float32).raise_if_failed()


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "gru", "num_layers": 2, "pooling": "last"},
        {"bidirectional": False, "pooling": "query", "mlp_size": 5},
        {"convolution": 6, "pooling": "attention", "num_heads": 3},
        {"convolution": 2, "pooling": "self-attention", "num_heads": 2, "mlp_size": 2},
    ],
)
@rows_or_steps
def test_the_contract_of_other_shapes(options: dict[str, Any], heads: tuple[Head, ...]) -> None:
    for kind in ("text", "series", "sentences"):
        check(build(kind, heads, **options)).raise_if_failed()


@rows_or_steps
def test_the_contract_with_a_local_layer(heads: tuple[Head, ...]) -> None:
    model = build("series", heads, local=3, local_size=1, convolution=2)
    assert model.frontend.output_size == 3 * model.frontend.width
    check(model).raise_if_failed()


def test_a_local_layer_that_would_leave_values_unseen_is_refused() -> None:
    with pytest.raises(UsageError, match=r"local_size \(5\) must divide 12, the values of a step"):
        SequenceModel(config(local=2, local_size=5), "series", ROWS, width=12)
    for width, sizes in ((1, "1"), (4, "2 or 4"), (7, "7"), (12, "2, 3, 4, 6 or 12"), (96, "2, 3, 4, 6, 8 or 12")):
        with pytest.raises(UsageError, match=rf"take {sizes}$"):
            SequenceModel(config(local=2, local_size=5), "series", ROWS, width=width)


@every_kind
@rows_or_steps
def test_a_batch_of_one(kind: InputKind, heads: tuple[Head, ...]) -> None:
    for length in (0, 1, 4):
        check(build(kind, heads), lengths=torch.tensor([length])).raise_if_failed()


def targets_of(heads: tuple[Head, ...], batch: int, steps: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    found = {}
    for head in heads:
        match head.kind:
            case "multi-label":
                found[head.name] = torch.randint(2, (batch, head.width), generator=generator).double()
            case "values":
                found[head.name] = torch.randn((batch, head.width), generator=generator, dtype=torch.float64)
            case "tags":
                tags = torch.randint(-1, head.width, (batch, steps), generator=generator)
                found[head.name] = tags.masked_fill(~mask_from_lengths(LENGTHS, steps), -1)
            case _:
                found[head.name] = torch.randint(max(head.width, 2), (batch,), generator=generator)
    return found


@every_kind
@rows_or_steps
def test_loss_and_gradients_of_a_row_alone_and_in_company(kind: InputKind, heads: tuple[Head, ...]) -> None:
    model, x = build(kind, heads), some(kind, LENGTHS)
    targets = targets_of(heads, *x.shape[:2])

    def run(x: Tensor, lengths: Tensor, targets: dict[str, Tensor], row: int) -> tuple[Tensor, dict[str, Tensor]]:
        logits = model(as_inputs(kind, x, lengths)).logits
        loss = sum(head_loss(head, logits[head.name], targets[head.name])[row] for head in heads)
        found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)
        return loss.detach(), dict(zip(dict(model.named_parameters()), found, strict=True))

    for row, length in enumerate(LENGTHS.tolist()):
        own = {name: target[row : row + 1] for name, target in targets.items()}
        own = {name: target[:, :length] if heads is STEPS else target for name, target in own.items()}
        alone, alone_gradients = run(x[row : row + 1, :length], LENGTHS[row : row + 1], own, 0)
        company, gradients = run(x, LENGTHS, targets, row)
        assert torch.allclose(alone, company, rtol=1e-10, atol=0)
        for name, gradient in gradients.items():
            assert float((gradient - alone_gradients[name]).norm()) <= 1e-10 * max(float(gradient.norm()), 1e-2), name
            if length == 0 and not name.startswith("heads."):
                assert bool((gradient == 0).all()), name


@every_kind
@every_pooling
def test_an_empty_row_is_answered_by_the_biases(kind: InputKind, pooling: str) -> None:
    model = build(kind, pooling=pooling)
    logits, weights, *_ = model(as_inputs(kind, some(kind, LENGTHS), LENGTHS))
    for head, linear in zip(ROWS, model.heads.linears, strict=True):
        assert torch.equal(logits[head.name][1], linear.bias)
    if weights is not None:
        assert bool((weights[1] == 0).all())


@every_kind
@rows_or_steps
def test_nothing_at_all(kind: InputKind, heads: tuple[Head, ...]) -> None:
    model = build(kind, heads, convolution=2)
    for batch in (0, 3):
        lengths = torch.zeros(batch, dtype=torch.int64)
        x = some(kind, LENGTHS)[:1, :0].expand(batch, *some(kind, LENGTHS)[:1, :0].shape[1:])
        for head in heads:
            value = model(as_inputs(kind, x, lengths)).logits[head.name]
            assert value.shape == ((batch, head.width) if heads is ROWS else (batch, 0, head.width))


# --- what comes out -----------------------------------------------------------------------------------------------


@every_kind
@every_pooling
def test_shapes(kind: InputKind, pooling: str) -> None:
    heads = 3 if pooling in MANY_HEADS else 1
    model = build(kind, pooling=pooling, num_heads=heads)
    inputs = as_inputs(kind, some(kind, LENGTHS), LENGTHS)
    logits, weights, piece_weights, lengths = model(inputs)
    assert torch.equal(lengths, LENGTHS)
    assert {name: value.shape for name, value in logits.items()} == {head.name: (4, head.width) for head in ROWS}
    shapes = [None if w is None else tuple(w.shape) for w in (weights, piece_weights)]
    attends = pooling in ATTENDING
    assert shapes[0] == ((4, heads, 6) if attends else None)
    assert shapes[1] == ((len(inputs.pieces.ids), heads, L) if attends and kind == "sentences" else None)


@every_kind
def test_tags_have_logits_at_every_real_step(kind: InputKind) -> None:
    model = build(kind, STEPS)
    logits, weights, *_ = model(as_inputs(kind, some(kind, LENGTHS), LENGTHS))
    mask = mask_from_lengths(LENGTHS, 6)
    assert model.pooling is None
    assert weights is None
    for head in STEPS:
        assert logits[head.name].shape == (4, 6, head.width)
        assert bool((logits[head.name][~mask] == 0).all())
        assert bool((logits[head.name][mask] != 0).all())


@every_kind
def test_attributions_may_start_from_what_was_embedded(kind: InputKind) -> None:
    model, inputs = build(kind), as_inputs(kind, some(kind, LENGTHS), LENGTHS)
    x = model.embed(inputs)
    blank = inputs._replace(values=torch.zeros_like(inputs.values))  # nothing else may be read of them
    if inputs.pieces is not None:
        blank = blank._replace(pieces=inputs.pieces._replace(ids=torch.zeros_like(inputs.pieces.ids)))
    assert torch.equal(model.forward_embedded(x, blank).logits["colour"], model(inputs).logits["colour"])
    x = x.detach().requires_grad_()
    model.forward_embedded(x, blank).logits["colour"].sum().backward()
    assert x.grad is not None
    real = inputs.pieces.lengths if kind == "sentences" else LENGTHS
    mask = mask_from_lengths(real, x.shape[1])
    assert bool((x.grad[~mask] == 0).all())
    assert bool((x.grad[mask] != 0).any(-1).all())


@every_kind
@rows_or_steps
def test_nothing_is_dropped_outside_training(kind: InputKind, heads: tuple[Head, ...]) -> None:
    model = build(kind, heads, dropout=0.5, embedding_dropout=0.5, word_dropout=0.5, mlp_size=5, num_layers=2)
    plain = build(kind, heads, mlp_size=5, num_layers=2)
    inputs = as_inputs(kind, some(kind, LENGTHS), LENGTHS)
    torch.manual_seed(0)
    for name, logits in plain(inputs).logits.items():
        assert torch.equal(model(inputs).logits[name], logits)


READ = ("text", "ids", "words", "sentences")
DROPS = [  # one place alone: kind, option of the model, or attribute of a part, at a half
    *((kind, option) for kind in READ for option in ("word_dropout", "embedding_dropout")),
    *((kind, "recurrent.dropout") for kind in KINDS),  # between layers
    ("sentences", "frontend.dropout"),
    ("sentences", "frontend.recurrent.dropout"),
]


@pytest.mark.parametrize(("kind", "place"), DROPS)
def test_each_place_drops_in_training(kind: InputKind, place: str) -> None:
    part, _, attribute = place.rpartition(".")
    model = build(kind, num_layers=2, **{} if part else {place: 0.5}).train()
    inputs = as_inputs(kind, some(kind, LENGTHS), LENGTHS)

    def differ() -> bool:
        first, second = (torch.cat(list(model(inputs).logits.values()), 1) for _ in range(2))
        return not torch.equal(first, second)

    torch.manual_seed(0)
    if part:
        assert not differ()
        setattr(model.get_submodule(part), attribute, 0.5)
    assert differ()


@every_kind
@rows_or_steps
@pytest.mark.parametrize("mlp_size", [0, 5])
def test_where_vectors_are_dropped(kind: InputKind, heads: tuple[Head, ...], mlp_size: int) -> None:
    """Into the LSTM, out of the pooling (or of the LSTM, for steps), out of the MLP: each by itself."""
    model = build(kind, heads, dropout=0.5, mlp_size=mlp_size, hidden_size=8).train()
    if kind == "sentences":
        model.frontend.dropout = 0.0
    inputs = as_inputs(kind, some(kind, LENGTHS), LENGTHS)
    into, out = {}, {}
    for name, child in model.named_children():
        child.register_forward_pre_hook(lambda _, args, name=name: into.update({name: args[0]}))
        child.register_forward_hook(lambda _, args, output, name=name: out.update({name: output}))

    def half(before: Tensor, after: Tensor) -> bool:
        lost = (before != 0) & (after == 0)
        return bool(lost.any()) and bool(after.any()) and torch.equal(after, 2 * before.masked_fill(lost, 0.0))

    torch.manual_seed(0)
    steps = model.frontend(inputs).x
    model(inputs)
    vectors = out["recurrent"].outputs if heads is STEPS else out["pooling"].vector
    assert half(steps, into["recurrent"])
    assert half(vectors, into["mlp" if mlp_size else "heads"])
    if mlp_size:
        assert half(torch.relu(out["mlp"]), into["heads"])


@pytest.mark.parametrize(("unknown_id", "read_as"), [(1, 1), (5, 5), (None, 0)])
def test_a_dropped_token_is_read_as_unknown(unknown_id: int | None, read_as: int) -> None:
    torch.manual_seed(0)
    model = SequenceModel(config(word_dropout=0.5), "text", ROWS, vocabulary=V, unknown_id=unknown_id)
    x = model.embed(ModelInputs(torch.full((1, 50), 7), torch.tensor([50]), None))[0]
    weight = model.frontend.embedding.weight
    dropped = (x == weight[read_as]).all(-1)
    assert 5 < int(dropped.sum()) < 45
    assert torch.equal(x[~dropped], weight[7].expand(int((~dropped).sum()), -1))


def held(value: object, seen: tuple[int, ...] = ()) -> object:
    """All that an object holds, however deep, as something that can be compared; modules are walked by the caller."""
    if id(value) in seen:
        return "itself"
    seen = (*seen, id(value))
    match value:
        case Tensor():
            return id(value), value.dtype, tuple(value.shape), value.tolist()
        case nn.Module():
            return id(value)
        case dict():
            return {str(key): held(content, seen) for key, content in value.items()}
        case list() | tuple() | set() | frozenset():
            return [held(content, seen) for content in value]
    return held(vars(value), seen) if hasattr(value, "__dict__") and not callable(value) else repr(value)


def traces(model: SequenceModel) -> list[str]:
    """What a request leaves behind: modules that hold something else than before, and answers that are other ones."""
    kind, heads = model.kind, model.heads.heads
    requests = [as_inputs(kind, some(kind, lengths), lengths) for lengths in (LENGTHS, LENGTHS.flip(0) + 1)]
    before = {name: held(vars(module)) for name, module in model.named_modules()}
    first, _, again = (model(requests[number]) for number in (0, 1, 0))
    after = {name: held(vars(module)) for name, module in model.named_modules()}
    found = [f"module {name!r}" for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    return found + [head.name for head in heads if not torch.equal(first.logits[head.name], again.logits[head.name])]


@every_kind
@rows_or_steps
def test_two_requests_never_see_each_other(kind: InputKind, heads: tuple[Head, ...]) -> None:
    assert traces(build(kind, heads)) == []


@pytest.mark.parametrize("fault", ["weights kept", "weights kept deep inside", "the last request's answer"])
def test_a_request_that_leaves_a_trace_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, shared = SequenceModel.forward, []

    def keeps(self: SequenceModel, inputs: ModelInputs) -> sequence.SequenceOutput:
        output = forward(self, inputs)
        match fault:
            case "weights kept":
                self.last = output.weights
            case "weights kept deep inside":
                self.pooling.__dict__.setdefault("cache", {}).setdefault("weights", []).append(output.weights)
            case _:  # which no module holds
                shared.append(output.logits)
                logits = {name: value + shared[-2 % len(shared)][name].mean() for name, value in output.logits.items()}
                output = output._replace(logits=logits)
        return output

    monkeypatch.setattr(SequenceModel, "forward", keeps)
    assert traces(build("sentences"))


# --- planted faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["softmax over padding", "h_n reshaped", "maximum over padding", "no mask"])
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"h_n reshaped": "last", "maximum over padding": "max", "no mask": "self-attention"}
    model = build("text", pooling=kinds.get(fault, "attention"))
    real_attend, real_mask = pooling.attend, pooling.mask_from_lengths
    match fault:
        case "softmax over padding":
            monkeypatch.setattr(pooling, "attend", lambda scores, values, mask: real_attend(scores, values))
        case "h_n reshaped":
            monkeypatch.setattr(sequence, "final_vector", lambda state, n: state.h.reshape(state.h.shape[1], -1))
        case "maximum over padding":
            monkeypatch.setattr(pooling, "max_steps", lambda outputs, mask: outputs.amax(1))
        case "no mask":
            monkeypatch.setattr(pooling, "mask_from_lengths", lambda n, size: real_mask(n.clamp(min=size), size))
    assert not check(model, lengths=torch.tensor([3, 2, 5])).passed


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    ["embedding_size", "hidden_size", "num_layers", "bidirectional", "dropout", "embedding_dropout", "word_dropout",
     "convolution", "pooling", "mlp_size"],
)  # fmt: skip
def test_an_option_that_is_not_settled_is_named(option: str) -> None:
    with pytest.raises(UsageError, match=rf"{option} \(None\) must have a value before a model is built"):
        build("text", **{option: None})


@pytest.mark.parametrize(
    ("kind", "heads", "sizes", "text"),
    [
        ("text", (), {"vocabulary": 3}, "heads is empty"),
        ("text", (ROWS[0], STEPS[0]), {"vocabulary": 3}, "must be all tags or none"),
        ("text", ROWS, {"width": 3}, "vocabulary (0) must be at least 1"),
        ("series", ROWS, {"vocabulary": 3}, "width (0) must be at least 1"),
    ],
)
def test_refused_models(kind: InputKind, heads: tuple[Head, ...], sizes: dict[str, int], text: str) -> None:
    with pytest.raises(UsageError) as error:
        SequenceModel(config(), kind, heads, **sizes)
    assert text in str(error.value)


def test_words_without_characters() -> None:
    model = SequenceModel(config(), "words", STEPS, vocabulary=V)
    values = torch.tensor([[1, 2, 3]])
    assert model(ModelInputs(values, torch.tensor([3]), None)).logits["tag"].shape == (1, 3, 4)
    with pytest.raises(ShapeError, match=r"inputs\.pieces"):
        build("words")(ModelInputs(values, torch.tensor([3]), None))
