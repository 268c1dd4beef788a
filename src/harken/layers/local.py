"""A locally connected linear map: each place of the input has a small window and weights of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harken.errors import ShapeError, UsageError


def local_linear(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int = 0) -> Tensor:
    """y_{l,f} = b_{l,f} + Σ_k w_{l,k,f} x_{l · stride + k - padding}; x is 0 before its first and after its last value.

    A product for each place, over all rows at once: no weight is copied for a row, and where windows do not overlap
    neither is the input.

    Args:
        x: (…, N).
        weight: (L, K, F).
        bias: (L, F) or None.
        stride: values from one window to the next.
        padding: zeros at either end of x.

    Returns:
        (…, L, F).

    Raises:
        ShapeError: weights for another number of places than N has.
    """
    places, kernel, features = weight.shape
    if x.dim() < 1 or count_places(x.shape[-1], kernel, stride, padding) != places:
        raise ShapeError(
            f"x {tuple(x.shape)} must be (…, N) with {places} windows of {kernel} in N: weight {tuple(weight.shape)}, "
            f"stride ({stride}), padding ({padding})"
        )
    rows = x.shape[:-1]
    flat = F.pad(x, (padding, padding)).reshape(math.prod(rows), x.shape[-1] + 2 * padding)  # (M, N + 2P)
    windows = flat.unfold(1, kernel, stride).transpose(0, 1)  # (L, M, K)
    y = windows @ weight if bias is None else torch.baddbmm(bias.unsqueeze(1), windows, weight)  # (L, M, F)
    return y.transpose(0, 1).reshape(*rows, places, features)


def count_places(size: int, kernel_size: int, stride: int, padding: int) -> int:
    """L, how many windows there are in ``size`` values: those that fit as a whole; 0 where none does."""
    return max(0, (size + 2 * padding - kernel_size) // stride + 1)


class LocalLinear(nn.Module):
    """`local_linear` with its weights: a convolution over the last axis whose places share none.

    The locally connected network of LeCun 1989, "Generalization and network design strategies" (Net-3), in one
    dimension. Between a dense layer, which has N · L · F weights, and a convolution, which has K · F, it has L · K · F:
    for inputs whose places mean different things, such as the bands of a spectrum or the sensors of an array.

    Weights and biases are drawn from U(-1/√K, 1/√K), as torch's linear layers draw theirs: K values reach an output.
    Differs from torch's `unfold` and `matmul` in a loop over rows: the weights are not copied for each of them.

    Args:
        in_features: N.
        local_features: F, outputs of each place.
        kernel_size: K, values that a place sees.
        stride: values from one place to the next; default: K, so that windows lie side by side.
        padding: zeros at either end.
        bias: of each output.

    Attributes:
        places: L.
        output_size: L · F.

    Raises:
        UsageError: an option outside its range, or no window that fits.
    """

    def __init__(
        self,
        in_features: int,
        local_features: int,
        kernel_size: int,
        *,
        stride: int | None = None,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        sizes = {"in_features": in_features, "local_features": local_features, "kernel_size": kernel_size}
        for name, value in (sizes | {"stride": stride}).items():
            if value < 1:
                raise UsageError(f"{name} ({value}) must be at least 1")
        if not 0 <= padding < kernel_size:
            raise UsageError(f"padding ({padding}) must be from 0 to below kernel_size ({kernel_size})")
        self.places = count_places(in_features, kernel_size, stride, padding)
        if not self.places:
            raise UsageError(
                f"kernel_size ({kernel_size}) must be at most {in_features + 2 * padding}: in_features ({in_features}) "
                "and the padding at both ends"
            )
        self.in_features, self.local_features, self.kernel_size = in_features, local_features, kernel_size
        self.stride, self.padding = stride, padding
        self.output_size = self.places * local_features
        self.weight = nn.Parameter(torch.empty(self.places, kernel_size, local_features))
        self.bias = nn.Parameter(torch.empty(self.places, local_features)) if bias else None
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(kernel_size), 1 / math.sqrt(kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        """(…, N) → (…, L, F); ``flatten(-2)`` makes L · F values of it.

        Raises:
            ShapeError: another number of values than in_features.
        """
        if x.dim() < 1 or x.shape[-1] != self.in_features:
            raise ShapeError(f"x {tuple(x.shape)} must be (…, {self.in_features}) for in_features")
        return local_linear(x, self.weight, self.bias, self.stride, self.padding)

    @torch.no_grad()
    def to_dense(self) -> nn.Linear:
        """The same map as a dense layer (…, N) → (…, L · F), most of whose weights are 0."""
        dense = nn.Linear(self.in_features, self.output_size, bias=self.bias is not None, dtype=self.weight.dtype)
        dense = dense.to(self.weight.device)
        weight = self.weight.new_zeros(self.places, self.local_features, self.in_features + 2 * self.padding)
        for place in range(self.places):
            start = place * self.stride
            weight[place, :, start : start + self.kernel_size] = self.weight[place].T
        dense.weight.copy_(weight[:, :, self.padding : self.padding + self.in_features].flatten(0, 1))
        if self.bias is not None:
            dense.bias.copy_(self.bias.flatten())
        return dense

    def extra_repr(self) -> str:
        """What `print` shows, as in torch."""
        return (
            f"{self.in_features}, {self.local_features}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, places={self.places}, bias={self.bias is not None}"
        )
