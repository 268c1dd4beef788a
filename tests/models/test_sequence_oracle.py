"""The whole model against plain PyTorch on each row alone and unpadded, in float64: outputs, loss, all gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import harken.layers.pooling as pooling
import harken.models.sequence as sequence
from harken.config import SequenceModelConfig
from harken.data.batching import ModelInputs
from harken.data.labels import Head
from harken.models.heads import head_loss
from harken.models.sequence import SequenceModel

V, E, H, M = 13, 5, 4, 6
LENGTHS = torch.tensor([4, 1, 7, 2])
HEADS = (
    Head("class", "classes", 3, ("a", "b", "c")),
    Head("sick?", "binary", 1, (False, True)),
    Head("size", "values", 2, (), (0.0, 0.0), (1.0, 1.0)),
)
TARGETS = {
    "class": torch.tensor([2, 0, 1, -1]),
    "sick?": torch.tensor([1, 0, 0, 1]),
    "size": torch.tensor([[0.3, -1.0], [2.0, 0.0], [1.0, 1.0], [0.5, 0.7]], dtype=torch.float64),
}
POOLINGS = ("attention", "last", "max", "mean")


@pytest.fixture
def values() -> Tensor:
    return torch.randint(V, (4, 9), generator=torch.Generator().manual_seed(1))  # with garbage in the padding


def build(kind: str) -> SequenceModel:
    torch.manual_seed(0)
    config = SequenceModelConfig(
        embedding_size=E, hidden_size=H, num_layers=2, bidirectional=True, dropout=0.5, embedding_dropout=0.3,
        word_dropout=0.3, rare_word_dropout=0.0, convolution=0, pooling=kind, mlp_size=M,
    )  # fmt: skip
    model = SequenceModel(config, "text", HEADS, vocabulary=V).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.6)
    return model


class Plain(nn.Module):
    """What a tutorial would write for one row without padding, where it is right."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, E)
        self.lstm = nn.LSTM(E, H, 2, batch_first=True, bidirectional=True)
        self.kind = model.config.pooling
        if self.kind == "attention":
            self.key, self.query = nn.Linear(2 * H, 2 * H), nn.Linear(2 * H, 1, bias=False)
        self.mlp = nn.Linear(2 * H, M)
        self.heads = nn.ModuleList(nn.Linear(M, head.width) for head in HEADS)
        self.double().load_state_dict({self.renamed(name): value for name, value in model.state_dict().items()})

    @staticmethod
    def renamed(name: str) -> str:
        for ours, theirs in (("frontend.", ""), ("recurrent.", "lstm."), ("pooling.", ""), ("heads.linears", "heads")):
            name = name.removeprefix(ours) if not theirs else name.replace(ours, theirs)
        return name

    def forward(self, row: Tensor) -> tuple[list[Tensor], Tensor | None]:
        h, (h_n, _) = self.lstm(self.embedding(row).unsqueeze(0))
        steps, weights = h[0], None  # (length, 2H)
        match self.kind:
            case "attention":
                weights = torch.softmax(self.query(torch.tanh(self.key(steps)))[:, 0], 0)  # (length,)
                vector = (weights.unsqueeze(1) * steps).sum(0)
            case "last":
                vector = torch.cat([h_n[2, 0], h_n[3, 0]])
            case "max":
                vector = steps.max(0).values
            case _:
                vector = steps.mean(0)
        features = torch.relu(self.mlp(vector))
        return [head(features) for head in self.heads], weights


def plain_loss(logits: list[Tensor], row: int) -> Tensor:
    label, sick = TARGETS["class"][row], TARGETS["sick?"][row]
    loss = F.binary_cross_entropy_with_logits(logits[1][0], sick.double())
    loss = loss + (logits[2] - TARGETS["size"][row]).square().mean()
    return loss if label < 0 else loss + F.cross_entropy(logits[0], label)


def found_of(model: SequenceModel, values: Tensor) -> dict[str, Tensor]:
    output = model(ModelInputs(values, LENGTHS, None))
    losses = sum(head_loss(head, output.logits[head.name], TARGETS[head.name]) for head in HEADS)
    model.zero_grad()
    losses.sum().backward()
    found = {"losses": losses} | output.logits
    if output.weights is not None:
        found["weights"] = output.weights[:, 0]
    return found | {"d " + Plain.renamed(name): p.grad for name, p in model.named_parameters()}


def wanted_of(model: SequenceModel, values: Tensor) -> dict[str, Tensor]:
    plain = Plain(model)
    rows = [plain(values[row, :length]) for row, length in enumerate(LENGTHS.tolist())]
    losses = torch.stack([plain_loss(logits, row) for row, (logits, _) in enumerate(rows)])
    losses.sum().backward()
    wanted = {"losses": losses}
    for k, head in enumerate(HEADS):
        wanted[head.name] = torch.stack([logits[k] for logits, _ in rows])
    if rows[0][1] is not None:
        wanted["weights"] = torch.stack([F.pad(w, (0, values.shape[1] - len(w))) for _, w in rows])
    return wanted | {f"d {name}": p.grad for name, p in plain.named_parameters()}


def worst(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    assert found.keys() == wanted.keys()
    pairs = [(found[name].detach(), wanted[name].detach()) for name in wanted]
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


@pytest.mark.parametrize("kind", POOLINGS)
def test_the_model_is_plain_pytorch_on_each_row_alone(kind: str, values: Tensor) -> None:
    model = build(kind)
    assert worst(found_of(model, values), wanted_of(model, values)) < 1e-10


@pytest.mark.parametrize("engine", ["portable", "packed"])
def test_the_engines_agree(engine: str, values: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("attention")
    wanted = wanted_of(model, values)
    monkeypatch.setenv("HARKEN_ENGINE", engine)
    assert worst(found_of(model, values), wanted) < 1e-10


@pytest.mark.parametrize("fault", ["softmax over padding", "h_n reshaped", "max over padding", "bias forgotten"])
def test_a_fault_is_noticed(fault: str, values: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build({"h_n reshaped": "last", "max over padding": "max"}.get(fault, "attention"))
    wanted, attend = wanted_of(model, values), pooling.attend
    match fault:
        case "softmax over padding":
            monkeypatch.setattr(pooling, "attend", lambda scores, values, mask: attend(scores, values))
        case "h_n reshaped":
            monkeypatch.setattr(sequence, "final_vector", lambda state, n: state.h[-n:].reshape(4, -1))
        case "max over padding":
            monkeypatch.setattr(pooling, "max_steps", lambda outputs, mask: outputs.amax(1))
        case "bias forgotten":
            assert model.mlp is not None
            model.mlp.bias.data.zero_()
    assert worst(found_of(model, values), wanted) > 1e-3
