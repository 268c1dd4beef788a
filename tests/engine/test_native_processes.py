"""The kernel in threads, in forked children, and out of memory. What could hang or crash does so in a process apart."""

import subprocess
import sys
import textwrap
import threading

import pytest
import torch

from harken.layers import Recurrent

pytestmark = pytest.mark.usefixtures("native")

# Large enough for the kernel to use two threads; PyTorch's own operations stay small, as they hang after a fork too.
SETUP = """
    import torch
    from harken.engine import backends, ragged_layer
    torch.set_num_threads(2)
    torch.manual_seed(0)
    assert backends.native_kernel(torch.float32, torch.device("cpu")) is not None
    lengths = torch.tensor([40, 3, 38, 25] * 4)
    x = torch.randn(16, 40, 8)
    weights = [(torch.randn(128, 8), torch.randn(128, 32) * 0.1, None, None)]
    for w in weights[0][:2]:
        w.requires_grad_()

    def work():
        outputs, _, _ = ragged_layer("lstm", x, lengths, weights)
        dw, = torch.autograd.grad([outputs], [weights[0][1]], [torch.ones_like(outputs)])
        return outputs.detach(), dw

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 4
        def __getitem__(self, k):
            return torch.stack([work()[0], expected[0]])

    expected = work()
"""


def process(program: str, timeout: float = 60) -> str:
    """What a program prints, after SETUP; an error if it fails, a timeout if it hangs."""
    source = textwrap.dedent(SETUP) + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", source], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_a_child_may_be_the_first_to_call_the_kernel():
    """The parent has PyTorch's threads running, and has not loaded the kernel."""
    program = """
        import os, torch, harken.layers
        torch.set_num_threads(2)
        layer, x, lengths = harken.layers.Recurrent(16, 64), torch.randn(32, 50, 16), torch.full((32,), 50)
        torch.randn(4_000_000).exp()
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)  # PyTorch's own operations would wait for ever
            torch.get_num_threads = lambda: 2  # and the kernel, if it asked for two
            layer(x, lengths).outputs.sum().backward()
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "0", done.stderr


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_forked_children_compute_the_same():
    program = """
    import multiprocessing, os, sys

    child = os.fork()
    if child == 0:
        found = work()
        right = torch.equal(found[0], expected[0]) and torch.allclose(found[1], expected[1], rtol=1e-4, atol=1e-4)
        os._exit(0 if right else 1)
    print("os.fork", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    def child(queue):
        queue.put(torch.equal(work()[0], expected[0]))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=child, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    print("multiprocessing", [queue.get(timeout=30) for _ in processes])
    for process in processes:
        process.join(30)

    loader = torch.utils.data.DataLoader(Rows(), batch_size=None, num_workers=2, multiprocessing_context="fork")
    print("workers", [torch.equal(*pair) for pair in loader])
    again = work()
    print("parent", torch.equal(again[0], expected[0]), torch.equal(again[1], expected[1]))
    """
    assert process(program).splitlines() == [
        "os.fork 0",
        "multiprocessing [True, True]",
        "workers [True, True, True, True]",
        "parent True True",
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_AS")
def test_out_of_memory_is_a_memory_error():
    """The outputs still fit, the kernel's workspace does not: an exception, and everything goes on after it."""
    program = """
    import resource

    time = 2_000_000
    wide = torch.zeros(1, 1, 8).expand(1, time, 8)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)  # the outputs are 244 MiB
    for _ in range(2):
        try:
            ragged_layer("lstm", wide, torch.tensor([time]), weights)
        except MemoryError:
            print("MemoryError")
    print(torch.equal(work()[0], expected[0]))
    """
    assert process(program).split() == ["MemoryError", "MemoryError", "True"]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_two_threads_at_once(cell):
    """Forward and backward, two threads of torch's pool each."""
    torch.manual_seed(0)
    layer = Recurrent(8, 33, cell=cell, bidirectional=True)
    lengths = torch.arange(24) % 13
    x = torch.randn(24, 12, 8)

    def once():
        outputs, state = layer(x, lengths)
        return [
            outputs,
            state.h,
            *torch.autograd.grad(outputs.square().sum() + state.h.sum(), list(layer.parameters())),
        ]

    before, wrong, done = torch.get_num_threads(), [], []
    torch.set_num_threads(2)
    try:
        expected = once()

        def work():
            torch.set_num_threads(2)  # a new thread begins with all cores
            for _ in range(15):
                if not all(torch.equal(a, b) for a, b in zip(once(), expected, strict=True)):
                    wrong.append(threading.current_thread().name)
            done.append(True)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        torch.set_num_threads(before)
    assert done == [True, True]
    assert wrong == []
