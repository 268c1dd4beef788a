"""What stands between autograd and the kernel: views, missing gradients, what is kept, and for how long."""

import copy
import gc
import math
import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from harken.engine import levels, native, ragged_layer
from harken.layers import Recurrent

pytestmark = pytest.mark.usefixtures("native")

cells = pytest.mark.parametrize("cell", ["lstm", "gru"])
LENGTHS = torch.tensor([4, 0, 6, 1, 6])


@pytest.fixture
def kernel(monkeypatch):
    """The kernel, and what it was called with."""

    class Spy:
        def __init__(self):
            self.forwards, self.backwards, self.kept = [], [], []

        def forward(self, *arguments):
            self.forwards.append(arguments)
            kept = Kept(real.forward(*arguments)) if arguments[2] else real.forward(*arguments)
            self.kept.append(kept if kept is None else weakref.ref(kept))
            return kept

        def backward(self, kept, *arguments):
            self.backwards.append(arguments)
            real.backward(kept.inner, *arguments)

    class Kept:
        def __init__(self, inner):
            self.inner = inner

    real, spy = levels.native_module(), Spy()
    monkeypatch.setattr("harken.engine.backends.native_kernel", lambda dtype, device: spy)
    return spy


def make(cell, bidirectional=True, features=3, hidden=5, **options):
    torch.manual_seed(0)
    layer = Recurrent(features, hidden, cell=cell, bidirectional=bidirectional, **options)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def inputs(batch=5, time=7, features=3):
    return torch.randn(batch, time, features, generator=torch.Generator().manual_seed(1))


def weights_of(layer):
    return [layer._weights(suffix) for suffix in layer._suffixes(0)]


def gradients(layer, x, state=None, lengths=LENGTHS, **options):
    outputs, final = layer(x, lengths, state)
    loss = (outputs * torch.linspace(-1, 1, outputs.shape[-1])).sum() + sum(part.square().sum() for part in final)
    return torch.autograd.grad(loss, [x, *layer.parameters()], **options)


@cells
def test_one_call_of_the_kernel_for_both_directions(kernel, cell):
    layer, x = make(cell), inputs().requires_grad_()
    gradients(layer, x)
    assert (len(kernel.forwards), len(kernel.backwards)) == (1, 1)
    (*_, directions), (*_, wanted) = kernel.forwards[0], kernel.backwards[0]
    assert [direction[-1] for direction in directions] == [False, True]
    h0, c0, _, c_n = zip(*(direction[4:8] for direction in directions), strict=True)
    assert h0 == c0 == (0, 0), "no zeros are made for states that nobody gave"
    assert all(address != 0 for address in c_n) == (cell == "lstm")
    assert all(row[6:] == (0, 0) for row in wanted), "nobody asked for the gradient of a state"


@cells
@pytest.mark.parametrize("grad_enabled", [True, False])
def test_nothing_is_kept_where_nothing_will_be_differentiated(kernel, cell, grad_enabled):
    layer = make(cell).requires_grad_(not grad_enabled)
    with torch.set_grad_enabled(grad_enabled):
        outputs, state = layer(inputs(), LENGTHS)
    assert kernel.kept == [None]
    assert not any(tensor.requires_grad for tensor in (outputs, *state))


@cells
@pytest.mark.parametrize("wanted", ["x", "weight_hh_l0_reverse", "bias_ih_l0", "h0"])
def test_only_what_is_wanted_is_computed(kernel, cell, wanted):
    layer, x = make(cell).requires_grad_(False), inputs()
    h0 = torch.randn(2, 5, 5)
    c0 = torch.randn(2, 5, 5) if cell == "lstm" else None
    leaf = {"x": x, "h0": h0, **dict(layer.named_parameters())}[wanted].requires_grad_()
    outputs, *_ = ragged_layer(cell, x, LENGTHS, weights_of(layer), h0, c0)
    alone = torch.autograd.grad(outputs.sum(), leaf)[0]
    *_, dx, _, asked = kernel.backwards[0]
    addresses = [dx[0], *(address for row in asked for address in row[2:])]
    assert sum(address != 0 for address in addresses) == (2 if wanted == "h0" else 1)
    for tensor in (x, h0, *layer.parameters()):
        tensor.requires_grad_()
    outputs, *_ = ragged_layer(cell, x, LENGTHS, weights_of(layer), h0, c0)
    assert torch.equal(torch.autograd.grad(outputs.sum(), leaf)[0], alone)


@cells
def test_missing_and_expanded_cotangents(cell, worst):
    """Autograd hands over None for an output that was not used and zero strides for a sum."""
    layer, x = make(cell), inputs().requires_grad_()
    leaves = [x, *layer.parameters()]
    truth = copy.deepcopy(layer).double()
    long = x.detach().double().requires_grad_()

    def losses(result):
        outputs, state = result
        yield outputs.sum()
        yield outputs.transpose(1, 2)[:, 1].square().sum()
        yield state[0].sum()
        yield state[-1][1].square().sum()
        yield outputs[:, 2].sum() + state[0][0].sum()

    for loss, true in zip(losses(layer(x, LENGTHS)), losses(truth(long, LENGTHS)), strict=True):
        found = torch.autograd.grad(loss, leaves, retain_graph=True)
        expected = torch.autograd.grad(true, [long, *truth.parameters()], retain_graph=True)
        assert worst(found, expected) < 1e-5


@cells
def test_views_are_read_where_they_lie(kernel, cell):
    layer, x = make(cell), inputs(5, 14, 6)
    whole = layer(x[:, ::2, :3].clone(), LENGTHS)
    for view, at in (
        (x[:, ::2, :3], x.data_ptr()),  # every other step, half of the features
        (x[:, ::2, :3].transpose(0, 1).contiguous().transpose(0, 1), None),  # time first
        (x[:, ::2, :3].transpose(1, 2).contiguous().transpose(1, 2), None),  # features first: copied
    ):
        assert torch.equal(layer(view, LENGTHS).outputs, whole.outputs)
        address, row, step = kernel.forwards[-1][4]
        assert at in (None, address)
        if view.stride(2) == 1:
            assert (address, row, step) == (view.data_ptr(), *view.stride()[:2])
    row = layer(x[:1, :7, :3].expand(5, 7, 3), torch.full((5,), 7)).outputs
    assert kernel.forwards[-1][4][1] == 0
    assert torch.equal(row[0], row[4])


def test_a_conjugate_s_imaginary_part_has_its_sign():
    """PyTorch stores it negated and says so in a bit, which a pointer does not carry."""
    layer = make("lstm", features=1)
    x = torch.randn(5, 7, 1, dtype=torch.complex64)
    assert x.conj().imag.is_neg()
    assert torch.equal(layer(x.conj().imag, LENGTHS).outputs, layer(-x.imag, LENGTHS).outputs)


@cells
def test_scattered_weights_and_states(cell, worst):
    """Weight drop, tied or transposed weights, expanded states: anything that is a tensor of the right shape."""
    layer, x = make(cell, bidirectional=False), inputs()
    w_ih, w_hh, b_ih, b_hh = (tensor.detach() for tensor in weights_of(layer)[0])
    scattered = [
        w_ih.T.contiguous().T,
        w_hh.repeat_interleave(2, 1)[:, ::2],
        b_ih.repeat_interleave(3)[::3],
        torch.cat([b_hh, b_hh])[: len(b_hh)],
    ]
    leaves = [tensor.clone(memory_format=torch.preserve_format).requires_grad_() for tensor in scattered[:2]]
    h0 = torch.randn(1, 1, 5).requires_grad_()
    states = [h0.expand(1, 5, 5)] * (2 if cell == "lstm" else 1)
    outputs, *_ = ragged_layer(cell, x, LENGTHS, [(*leaves, *scattered[2:])], *states)
    plain = [tensor.contiguous().detach().requires_grad_() for tensor in leaves]
    zero = h0.detach().clone().requires_grad_()
    expected, *_ = ragged_layer(
        cell, x, LENGTHS, [(*plain, b_ih, b_hh)], *[zero.expand(1, 5, 5).contiguous() for _ in states]
    )
    assert torch.equal(outputs, expected)
    found = torch.autograd.grad(outputs.square().sum(), [*leaves, h0])
    assert worst(found, torch.autograd.grad(expected.square().sum(), [*plain, zero])) < 1e-6


# --- how long things live ------------------------------------------------------------------------------------------


@cells
def test_the_graph_can_be_kept(kernel, cell):
    layer, x = make(cell), inputs().requires_grad_()
    outputs = layer(x, LENGTHS).outputs
    leaves = [x, *layer.parameters()]
    first, again = (torch.autograd.grad(outputs.square().sum(), leaves, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert kernel.kept[0]() is not None
    torch.autograd.grad(outputs.square().sum(), leaves)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        torch.autograd.grad(outputs.square().sum(), leaves)


@cells
def test_what_was_kept_goes_with_the_backward_pass(kernel, cell):
    """Not with the graph, which lives as long as somebody looks at the loss: two workspaces instead of one."""
    loss = make(cell)(inputs(), LENGTHS).outputs.sum()
    assert kernel.kept[0]() is not None
    loss.backward()
    assert kernel.kept[0]() is None


@cells
def test_a_graph_without_a_backward_pass_leaves_nothing(kernel, cell):
    outputs = make(cell)(inputs(), LENGTHS).outputs
    assert kernel.kept[0]() is not None
    gc.disable()
    try:
        del outputs
        assert kernel.kept[0]() is None, "a reference cycle keeps it until the garbage collector comes"
    finally:
        gc.enable()


@cells
def test_a_change_in_place_is_noticed(cell):
    layer = make(cell)
    outputs = layer(inputs(), LENGTHS).outputs
    with torch.no_grad():
        layer.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@cells
@pytest.mark.parametrize("way", ["saved on the CPU", "checkpoint", "reentrant checkpoint"])
def test_saved_tensors_may_travel(cell, way):
    layer, x = make(cell), inputs().requires_grad_()
    expected = gradients(layer, x)

    def run(x):
        outputs, final = layer(x, LENGTHS)
        return outputs, *final  # flat: a reentrant checkpoint looks no deeper

    with torch.autograd.graph.save_on_cpu():
        if way == "saved on the CPU":
            outputs, *final = run(x)
        else:
            outputs, *final = checkpoint(run, x, use_reentrant=way.startswith("reentrant"))
        loss = (outputs * torch.linspace(-1, 1, 10)).sum() + sum(part.square().sum() for part in final)
    loss.backward()
    assert all(torch.equal(a.grad, b) for a, b in zip([x, *layer.parameters()], expected, strict=True))


# --- what it cannot do, and does another way -----------------------------------------------------------------------


@cells
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
def test_gradients_can_be_differentiated_again(cell, bidirectional, with_state, worst):
    layer = make(cell, bidirectional, bias=with_state)
    truth = copy.deepcopy(layer).double()
    results = []
    for module, x in ((layer, inputs()), (truth, inputs().double())):
        x.requires_grad_()
        state = None
        if with_state:  # computed from x: the two must not lend each other their gradients
            part = x.mean((1, 2)).expand(2 if bidirectional else 1, 5).unsqueeze(-1).expand(-1, -1, 5)
            state = (part, part.sin()) if cell == "lstm" else (part,)
        first = gradients(module, x, state, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), [x, *module.parameters()])
        results.append([*first, *second])
    assert worst(*results) < 1e-5


def test_a_gradient_penalty_sees_a_transposed_input(worst):
    """A copy made inside the node would have no history, and the penalty no gradient."""
    layer = make("lstm")
    results = []
    for dtype in (torch.float32, torch.float64):
        leaf = inputs().transpose(1, 2).contiguous().to(dtype).requires_grad_()
        outputs = copy.deepcopy(layer).to(dtype)(leaf.transpose(1, 2), LENGTHS).outputs
        (first,) = torch.autograd.grad(outputs.square().sum(), leaf, create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), leaf))
    assert worst(*results) < 1e-5


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own use of it
def test_forward_mode_is_refused_in_words():
    layer, x = make("lstm").requires_grad_(False), inputs()
    with torch.no_grad(), torch.autograd.forward_ad.dual_level():
        assert torch.equal(layer(x, LENGTHS).outputs, layer(x.clone(), LENGTHS).outputs)
        with pytest.raises(NotImplementedError, match="forward mode AD"):
            layer(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)), LENGTHS)


def test_transforms_are_refused_in_words():
    layer = make("lstm").requires_grad_(False)
    with pytest.raises(RuntimeError, match=r"torch\.func|functorch|data pointer"):
        torch.func.grad(lambda x: layer(x, LENGTHS).outputs.sum())(inputs())


@pytest.mark.parametrize("wrong", [torch.zeros(20, 3).to_sparse(), torch.zeros(20, 3).to_mkldnn()])
def test_a_tensor_without_memory_is_refused_in_words(wrong):
    layer = make("lstm", bidirectional=False)
    with pytest.raises((RuntimeError, ValueError)):
        ragged_layer("lstm", inputs(), LENGTHS, [(wrong, *weights_of(layer)[0][1:])])


def test_default_dtype_and_device_do_not_matter():
    layer, x = make("lstm"), inputs().requires_grad_()
    expected = gradients(layer, x)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = layer(x, LENGTHS)
            part = found.outputs.sum() + found.state.c.sum()
            part.backward()
    finally:
        torch.set_default_dtype(torch.float32)
    assert x.grad.dtype == torch.float32
    assert x.grad.shape == expected[0].shape


@cells
def test_nan_weights_give_nan_and_an_end(cell):
    layer, x = make(cell), inputs().requires_grad_()
    with torch.no_grad():
        layer.weight_hh_l0[0, 0] = float("nan")
    outputs, state = layer(x, LENGTHS)
    half = outputs[0, 3, :5], outputs[0, 3, 5:]
    assert half[0].isnan().any()
    assert not half[1].isnan().any()
    assert not outputs[1].any()
    (state.h.sum() + outputs.sum()).backward()
    assert x.grad[0, :4].isnan().all()
    assert not x.grad[1].any()
    assert not x.grad[0, 4:].any()


def test_layers_are_copied_and_pickled_as_ever(tmp_path):
    layer, x = make("lstm", num_layers=2), inputs()
    expected = layer(x, LENGTHS).outputs
    torch.save(layer, tmp_path / "layer.pt")
    for other in (copy.deepcopy(layer), torch.load(tmp_path / "layer.pt", weights_only=False)):
        assert torch.equal(other(x, LENGTHS).outputs, expected)


def test_threads_are_those_of_torch(kernel):
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            make("lstm")(inputs(), LENGTHS).outputs.sum().backward()
            assert (kernel.forwards[-1][1], kernel.backwards[-1][0]) == (threads, threads)
    finally:
        torch.set_num_threads(before)


def test_two_names_for_one_tensor():
    """The same bias twice gets the sum of both gradients, as anywhere in autograd."""
    layer, x = make("gru", bidirectional=False), inputs()
    w_ih, w_hh, b, _ = weights_of(layer)[0]
    outputs, *_ = ragged_layer("gru", x, LENGTHS, [(w_ih, w_hh, b, b)])
    (both,) = torch.autograd.grad(outputs.square().sum(), b)
    twin = b.detach().clone().requires_grad_()
    outputs, *_ = ragged_layer("gru", x, LENGTHS, [(w_ih, w_hh, b, twin)])
    parts = torch.autograd.grad(outputs.square().sum(), [b, twin])
    assert not torch.equal(*parts), "a GRU's two biases differ"
    assert torch.equal(both, parts[0] + parts[1])


def test_the_binding_s_numbers_are_the_kernel_s():
    assert native.CELLS == {"lstm": 0, "gru": 1}


@cells
def test_an_infinite_input_spoils_only_what_it_reaches(cell):
    """Hidden sizes that fill no vector are padded with units of weight 0, and 0 times infinity is no number."""
    finite = []
    for hidden in (16, 17):
        torch.manual_seed(0)
        layer = Recurrent(4, hidden, cell=cell)
        x = torch.randn(2, 5, 4)
        x[0, 3, 1] = math.inf
        x.requires_grad_()
        layer(x).outputs.nan_to_num().sum().backward()
        finite.append([row.isfinite().all().item() for row in x.grad.flatten(0, 1)])
    assert finite[0] == finite[1]
    assert all(finite[0][5:])


def test_weights_may_be_computed(worst):
    """A weight-dropped matrix (Merity et al. 2018, section 3) is no leaf: the gradient goes on to the raw one."""
    torch.manual_seed(0)
    raw, w_ih, x = torch.randn(64, 16) * 0.3, torch.randn(64, 4), torch.randn(3, 7, 4)
    kept, found = (torch.rand(64, 16) > 0.5) * 2, []
    for dtype in (torch.float32, torch.float64):
        leaf = raw.to(dtype).requires_grad_()
        weights = [(w_ih.to(dtype), leaf * kept, None, None)]
        outputs, _, _ = ragged_layer("lstm", x.to(dtype), torch.tensor([7, 0, 4]), weights)
        found.append(torch.autograd.grad(outputs.square().sum(), leaf))
    assert worst(*found) < 1e-5


def test_lengths_may_be_counted_down_between_the_passes():
    layer, x, lengths = Recurrent(4, 8), torch.randn(2, 5, 4), torch.tensor([5, 3])
    outputs = layer(x, lengths).outputs
    lengths -= 1
    outputs.sum().backward()
