"""Grad-CAM: which cells of a picture's feature map speak for the answer, whatever pools them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident

import torch
from torch import Tensor, nn

from harken.data.batching import ModelInputs
from harken.data.labels import Head
from harken.errors import UsageError
from harken.explain.attribution import backward_in_eval_mode, chosen
from harken.models.convolutional import PictureFrontend
from harken.models.sequence import SequenceModel


def grad_cam(model: SequenceModel, inputs: ModelInputs, heads: Sequence[Head]) -> dict[str, Tensor]:
    """A map of each picture for each head: ReLU(Σ_c α_c A_c), with A (C, h, w) the backbone's last feature map.

    Selvaraju et al. 2017, equations 1 and 2: α_c is the gradient of the answer's logit to A_c, averaged over cells.
    What a head's answer is says `harken.explain.attribution.chosen`. The maps have no unit: within one, what is twice
    as large speaks twice as much for the answer; what speaks against it is 0.

    Differs from the paper: between the feature map and the logits there may be recurrent layers and a pooling that
    attends; the gradient passes them.

    Args:
        model: of pictures, in eval mode, on the inputs' device.
        inputs: B pictures.
        heads: whose answers.

    Returns:
        Head → (B, h, w); a row without a picture has 0, and h = w = 0 where no row has one.

    Raises:
        UsageError: a model that reads no pictures.
    """
    frontend = model.frontend
    if not isinstance(frontend, PictureFrontend):
        raise UsageError(f"Grad-CAM needs the feature map of a picture, and the model reads {model.kind}")
    with torch.no_grad():
        x = model.embed(inputs)
    found = {head.name: x.new_zeros(len(inputs.lengths), 0, 0) for head in heads}
    with torch.enable_grad(), backward_in_eval_mode(x), _feature_maps(frontend.backbone) as maps:
        logits = model.forward_embedded(x, inputs).logits
        for features in maps:  # one, or none: (B, C, h, w)
            for head in heads:
                own = logits[head.name]
                answers = (chosen(head, own.detach()) * own).sum()  # a row's gradient is its own: no row sees another
                (gradient,) = torch.autograd.grad(answers, features, retain_graph=True)
                alpha = gradient.mean((2, 3), keepdim=True)  # (B, C, 1, 1)
                found[head.name] = torch.relu((alpha * features.detach()).sum(1))  # (B, h, w)
    return found


@contextmanager
def _feature_maps(backbone: nn.Module) -> Iterator[list[Tensor]]:
    """What the backbone gives meanwhile in this thread, as leaves that gradients lead to: nothing is kept below them.

    Another thread that asks the same model is neither heard nor changed.
    """
    heard: list[Tensor] = []
    listener = get_ident()

    def hear(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if get_ident() != listener:
            return output
        heard.append(output.detach().requires_grad_())
        return heard[-1]

    handle = backbone.register_forward_hook(hear)
    try:
        yield heard
    finally:
        handle.remove()
