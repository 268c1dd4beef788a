"""The test of the tests: what is right passes, and every planted fault of design.md section 7 is caught."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from torch.profiler import ProfilerActivity, profile

from harken.errors import ShapeError, UsageError
from harken.layers.attention import Attended
from harken.layers.masks import mask_from_lengths
from harken.layers.recurrent import Cell, Recurrent
from harken.testing import check_padding

SIZE = 4


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 6, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def lengths() -> Tensor:
    return torch.tensor([6, 2, 1, 4])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(1)


class Mean(nn.Module):
    """A right answer: the mean of an affine map over real steps."""

    def __init__(self) -> None:
        super().__init__()
        self.affine = nn.Linear(SIZE, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        mask = mask_from_lengths(lengths, x.shape[1]).unsqueeze(-1)
        return (self.affine(x) * mask).sum(1) / lengths.clamp(min=1).unsqueeze(-1)


class SelfAttention(nn.Module):
    """Additive pooling weights and a context, masked as they should be, or not."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.energy = nn.Linear(SIZE, 1)
        self.fault = fault

    def forward(self, x: Tensor, lengths: Tensor) -> Attended:
        scores = self.energy(x).squeeze(-1)  # (B, T)
        padding = ~mask_from_lengths(lengths, x.shape[1])
        match self.fault:
            case "unmasked":
                weights = scores.softmax(-1)
            case "over the batch":
                weights = scores.masked_fill(padding, -1e30).softmax(0).masked_fill(padding, 0)
            case "nan":
                weights = scores.masked_fill(padding, -torch.inf).softmax(-1)
            case "zero score":  # a padding score of 0 still takes its share
                weights = (scores * ~padding).softmax(-1) * ~padding
            case "not normalised":
                weights = scores.sigmoid() * ~padding
            case _:
                weights = scores.masked_fill(padding, -1e30).softmax(-1).masked_fill(padding, 0)
        if self.fault == "nowhere":
            weights = weights * 0
        return Attended((weights.unsqueeze(1) @ x).squeeze(1), weights)


class LastOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(SIZE, 5, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.lstm(x)[0][:, -1]


class StateAfterPads(LastOutput):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.lstm(x)[1][0]  # (1, B, H): rows are found on the second axis


class Packed(LastOutput):
    """Right, but for empty rows, which packing refuses."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.lstm(packed)[1][0]


class ReshapedState(nn.Module):
    """h_n of both directions made (B, -1) without a transpose mixes rows."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(SIZE, 5, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths.clamp(min=1), batch_first=True, enforce_sorted=False)
        h_n = self.lstm(packed)[1][0].reshape(x.shape[0], -1)
        return h_n * (lengths > 0).unsqueeze(-1)


class BatchSecond(nn.Module):
    """nn.MultiheadAttention without batch_first attends across examples."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(SIZE, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        mask = mask_from_lengths(lengths, x.shape[1]).unsqueeze(-1)
        return self.attention(x, x, x)[0] * mask


class Squeezed(Mean):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(x, lengths)[:, :1].squeeze()


class Remembers(Mean):
    """Hidden state kept on the module."""

    calls = 0

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x, lengths) * self.calls


class Normalised(Mean):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        answer = super().forward(x, lengths)
        return answer - answer.mean(0)


class PaddingInGradientOnly(Mean):
    """The output is right; the gradient flows into the padding."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        leak = x.sum((1, 2)).unsqueeze(-1)
        return super().forward(x, lengths) + leak - leak.detach()


class UnmaskedBias(Mean):
    """Per-step outputs that are a bias on padding."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.affine(x)


class Dropped(Mean):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return F.dropout(super().forward(x, lengths), 0.5, training=True)


FAULTS: dict[str, nn.Module] = {
    "softmax over padding": SelfAttention("unmasked"),
    "softmax over the batch": SelfAttention("over the batch"),
    "padding scored 0": SelfAttention("zero score"),
    "weights that do not sum to 1": SelfAttention("not normalised"),
    "weights that are all 0": SelfAttention("nowhere"),
    "NaN from a row without keys": SelfAttention("nan"),
    "output[:, -1]": LastOutput(),
    "h_n after the pads": StateAfterPads(),
    "h_n reshaped": ReshapedState(),
    "refuses empty rows": Packed(),
    "MultiheadAttention without batch_first": BatchSecond(),
    "squeeze of a batch of one": Squeezed(),
    "state kept on the module": Remembers(),
    "normalised over the batch": Normalised(),
    "gradient into padding": PaddingInGradientOnly(),
    "padding of the output not 0": UnmaskedBias(),
    "dropout left on": Dropped(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault: str, x: Tensor, lengths: Tensor) -> None:
    report = check_padding(FAULTS[fault], x, lengths)
    assert not report.passed
    assert report.failures
    with pytest.raises(AssertionError, match="FAILED"):
        report.raise_if_failed()


@pytest.mark.parametrize(
    ("fault", "cases", "tensor"),
    [
        ("NaN from a row without keys", {"empty rows", "only empty rows"}, "weights"),
        ("weights that are all 0", None, "weights"),
        ("refuses empty rows", {"empty rows", "only empty rows"}, "–"),
        ("gradient into padding", None, "d x"),
        ("padding of the output not 0", None, "output"),
    ],
)
def test_a_fault_is_found_where_it_is(
    fault: str, cases: set[str] | None, tensor: str, x: Tensor, lengths: Tensor
) -> None:
    failures = check_padding(FAULTS[fault], x, lengths).failures
    assert tensor in {row.tensor for row in failures}
    assert cases is None or {row.case for row in failures} == cases


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("right", [Mean(), SelfAttention()])
def test_right_answers_pass(right: nn.Module, dtype: torch.dtype, x: Tensor, lengths: Tensor) -> None:
    report = check_padding(right, x, lengths, dtype=dtype)
    report.raise_if_failed()
    assert {row.case for row in report.rows} >= {"batch", "garbage in padding", "another order", "only empty rows"}
    assert {"d x", *(f"d {name}" for name, _ in right.named_parameters())} <= {row.tensor for row in report.rows}
    assert "garbage in padding" in str(report)


class Pairs(nn.Module):
    """Weights of every pair of steps (B, T, T): 0 for queries that are padding, and by its fault for others."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault

    def forward(self, x: Tensor, lengths: Tensor) -> Attended:
        real = mask_from_lengths(lengths, x.shape[1])
        mask = real.unsqueeze(-1) & real.unsqueeze(1)  # (B, T, T)
        if self.fault == "the first sees nothing":
            mask = mask & (torch.ones_like(mask).tril(-1) | (lengths < 2).reshape(-1, 1, 1))
        weights = (x @ x.transpose(1, 2)).masked_fill(~mask, -1e30).softmax(-1).masked_fill(~mask, 0)
        if self.fault == "nobody sees anything":
            weights = weights * 0
        if self.fault == "nobody sees anything in one row":
            weights = weights * (lengths != 2).reshape(-1, 1, 1)
        return Attended(weights @ x, weights)


@pytest.mark.parametrize(
    ("fault", "rows"),
    [
        ("", set()),
        ("the first sees nothing", set()),
        ("nobody sees anything in one row", {1}),
        ("nobody sees anything", {0}),
    ],
)
def test_some_query_of_a_row_looks_somewhere(fault: str, rows: set[int], x: Tensor, lengths: Tensor) -> None:
    failures = check_padding(Pairs(fault), x, lengths).failures
    assert {row.tensor for row in failures} == ({"weights"} if rows else set())
    assert {row.row for row in failures if row.case == "batch"} == rows
    assert all(row.error == 1 for row in failures)


def test_whatever_it_raises_at_first_is_a_row_of_the_report(x: Tensor) -> None:
    report = check_padding(Packed(), x, torch.tensor([6, 0, 1, 4]))
    (row,) = report.failures
    assert (row.case, row.tensor) == ("batch", "–")
    assert row.note.startswith("raised RuntimeError: Length of all samples has to be greater than 0")


class _Refuses(torch.autograd.Function):
    """The identity, refusing its backward pass as cuDNN's recurrent layers do in eval mode."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.by_cudnn = torch.backends.cudnn.enabled
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if ctx.by_cudnn:
            raise RuntimeError("cudnn RNN backward can only be called in training mode")
        return gradient


class Eval(Mean):
    """Says under which setting it ran."""

    def __init__(self, refuses: bool) -> None:
        super().__init__()
        self.refuses = refuses
        self.ran: list[bool] = []

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        self.ran.append(torch.backends.cudnn.enabled)
        answer = super().forward(x, lengths)
        return _Refuses.apply(answer) if self.refuses else answer


@pytest.mark.parametrize("fault", [False, True])
@pytest.mark.parametrize("refuses", [False, True])
def test_without_cudnn_only_if_it_refuses(refuses: bool, fault: bool, x: Tensor, lengths: Tensor) -> None:
    model = Eval(refuses)

    def f(x: Tensor, lengths: Tensor) -> Tensor:
        return model(x, lengths) + (x.detach().sum((1, 2)).unsqueeze(-1) if fault else 0)

    model.double()
    report = check_padding(f, x, lengths, parameters=dict(model.named_parameters()))
    assert report.passed is not fault
    assert "raised" not in str(report)
    assert model.ran[-1] is not refuses
    assert torch.backends.cudnn.enabled


def test_a_refusal_without_cudnn_is_a_finding(x: Tensor, lengths: Tensor) -> None:
    def f(x: Tensor, lengths: Tensor) -> Tensor:
        raise RuntimeError("this backward can only be called in training mode")

    assert "raised RuntimeError" in str(check_padding(f, x, lengths))


class TorchLast(LastOutput):
    """Right, and nn.LSTM in eval mode: the last real output of a padded batch read forwards."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        outputs = self.lstm(x)[0]
        last = outputs[torch.arange(len(x), device=x.device), (lengths - 1).clamp(min=0)]
        return last * (lengths > 0).unsqueeze(-1)


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@needs_cuda
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_on_cuda_what_is_checked_is_cudnns_kernel(cell: Cell, dtype: torch.dtype, x: Tensor, lengths: Tensor) -> None:
    layer = Recurrent(SIZE, 5, cell=cell, num_layers=2, bidirectional=True).cuda()
    # cuDNN multiplies float32 in TF32 unless told otherwise, and its 10 bits miss the contract's 1e-5 by far.
    with (
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        profile(activities=[ProfilerActivity.CPU]) as trace,
    ):
        check_padding(layer, x.cuda(), lengths, dtype=dtype).raise_if_failed()
    calls = {event.key for event in trace.key_averages()}
    assert {"aten::_cudnn_rnn", "aten::_cudnn_rnn_backward"} <= calls


@needs_cuda
def test_on_cuda_torchs_layers_are_checked_in_eval_mode(x: Tensor, lengths: Tensor) -> None:
    check_padding(TorchLast().cuda(), x.cuda(), lengths.cuda()).raise_if_failed()


def test_the_users_module_is_left_alone(x: Tensor, lengths: Tensor) -> None:
    model = Mean().train()
    check_padding(model, x, lengths)
    assert model.training
    assert model.affine.weight.dtype == torch.float32
    assert model.affine.weight.grad is None


class Embedded(nn.Module):
    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 3)
        self.masked = masked

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        steps = self.embedding(x)
        return (steps * mask_from_lengths(lengths, x.shape[1]).unsqueeze(-1) if self.masked else steps).sum(1)


@pytest.mark.parametrize("masked", [True, False])
def test_ids_are_checked_through_parameters(masked: bool, lengths: Tensor) -> None:
    x = torch.randint(1, 9, (4, 6), generator=torch.Generator().manual_seed(2))
    report = check_padding(Embedded(masked), x, lengths)
    assert report.passed is masked
    assert {row.tensor for row in report.rows} == {"output", "d embedding.weight"}


def test_parameters_of_a_plain_function_can_be_named(x: Tensor, lengths: Tensor) -> None:
    scale = torch.ones(SIZE, dtype=torch.float64, requires_grad=True)

    def f(x: Tensor, lengths: Tensor) -> Tensor:
        masked = x * mask_from_lengths(lengths, x.shape[1]).unsqueeze(-1)
        return (masked * scale).sum(1) + (scale - scale.detach()) * (len(x) - 1)  # the fault is in d scale alone

    assert check_padding(f, x, lengths).passed
    assert {row.tensor for row in check_padding(f, x, lengths, parameters={"scale": scale}).failures} == {"d scale"}


class Named(NamedTuple):
    logits: Tensor
    state: tuple[Tensor, Tensor | None]
    count: Tensor
    loss: Tensor


def test_nested_outputs_are_named_and_those_without_rows_left_out(x: Tensor, lengths: Tensor) -> None:
    def f(x: Tensor, lengths: Tensor) -> Named:
        total = (x * mask_from_lengths(lengths, x.shape[1]).unsqueeze(-1)).sum(1)
        return Named(total, (total.unsqueeze(0), None), lengths, total.mean())

    report = check_padding(f, x, lengths)
    report.raise_if_failed()
    assert {row.tensor for row in report.rows} == {"logits", "state.0", "count", "d x"}


def test_padding_of_outputs_may_be_left_out(x: Tensor, lengths: Tensor) -> None:
    assert check_padding(UnmaskedBias(), x, lengths, zero_padding=False).passed


def test_a_pairwise_output_is_cut_along_both_time_axes(x: Tensor, lengths: Tensor) -> None:
    def f(x: Tensor, lengths: Tensor) -> Tensor:
        x = x * mask_from_lengths(lengths, x.shape[1]).unsqueeze(-1)
        return x @ x.transpose(1, 2)  # (B, T, T)

    check_padding(f, x, lengths).raise_if_failed()


@pytest.mark.parametrize("size", [1, 2])
def test_small_batches_are_enough(size: int, x: Tensor, lengths: Tensor) -> None:
    assert check_padding(Mean(), x[:size], lengths[:size]).passed
    assert not check_padding(LastOutput(), x[:size], lengths[:size]).passed


def test_refusals(x: Tensor, lengths: Tensor) -> None:
    with pytest.raises(UsageError, match="float16"):
        check_padding(Mean(), x, lengths, dtype=torch.float16)
    with pytest.raises(ShapeError, match=r"\(4, 6, 4\) and lengths \(3,\)"):
        check_padding(Mean(), x, lengths[:3])
    with pytest.raises(ShapeError, match="between 0 and T"):
        check_padding(Mean(), x, lengths + 1)
    with pytest.raises(UsageError, match="a row for each row of x"):
        check_padding(lambda x, lengths: x.sum(), x, lengths)
