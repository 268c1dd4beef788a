"""A sequence-to-sequence bundle brought to life: model and tokenizers, ready to answer texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import torch

from harken.bundle import Bundle
from harken.config import DecodingConfig, Seq2SeqConfig, Seq2SeqRun
from harken.data.batching import Batch, PairLoader
from harken.data.features import Tokenizer
from harken.errors import BundleError
from harken.models.decoding import Chance, Decoded, decode
from harken.models.seq2seq import Seq2SeqModel

BATCH_SIZE = 512  # rows answered at once: no gradients are kept, so more fit than in a training step


class Predictor(NamedTuple):
    """What `fit` and `load` bring; it keeps nothing about what it is asked."""

    bundle: Bundle
    model: Seq2SeqModel  # in eval mode, on the CPU
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    max_length: int  # no answer is longer, in tokens, unless the option `max_length` says so
    config: Seq2SeqRun  # as it was when the model was trained

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """Build the model that a bundle describes.

        Raises:
            BundleError: it is of another task, or weights or facts do not belong to its configuration.
        """
        config = bundle.config
        if not isinstance(config, Seq2SeqRun):
            raise BundleError(f"the bundle is for the task {config.task!r}, not seq2seq: harken.load(path) opens it")
        source, target = bundle.tokenizers["source"], bundle.tokenizers["target"]
        longest = bundle.facts.get("longest_target")
        if not isinstance(longest, int) or not 0 <= longest < 2**31 or not _belong(bundle, config.model):
            raise BundleError("the bundle's weights or facts do not belong to its configuration: it was tampered with")
        with torch.random.fork_rng(devices=[]):  # drawing weights to overwrite them is not the user's chance
            model = Seq2SeqModel(config.model, source.vocabulary_size, target.vocabulary_size)
        try:
            model.load_state_dict(dict(bundle.weights))
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise BundleError(f"the bundle's weights do not fit its configuration: {reason}") from None
        return cls(bundle, model.eval(), source, target, default_max_length(longest), config)

    def batches(
        self, sources: Sequence[str], targets: Sequence[str] | None = None, batch_size: int = BATCH_SIZE
    ) -> Iterator[Batch]:
        """Texts of similar length together; `Batch.rows` says where each belongs."""
        yield from PairLoader(
            self.source_tokenizer.encode(sources),
            None if targets is None else self.target_tokenizer.encode(targets),
            batch_size=batch_size,
            bos_id=self.target_tokenizer.bos_id,
            eos_id=self.target_tokenizer.eos_id,
            reverse_source=self.config.features.reverse_source,
            shuffle=False,
            bucket=True,
            seed=0,
        )

    def decode(self, batch: Batch, decoding: DecodingConfig, seed: int, *, with_weights: bool = False) -> Decoded:
        """Answer one batch; what a row draws when sampling depends on (seed, its place in the data) alone."""
        return decode_batch(
            self.model, batch, self.target_tokenizer, decoding, self.max_length, seed, with_weights=with_weights
        )


def decode_batch(
    model: Seq2SeqModel,
    batch: Batch,
    tokenizer: Tokenizer,
    decoding: DecodingConfig,
    max_length: int,
    seed: int,
    *,
    with_weights: bool = False,
) -> Decoded:
    """Answer one batch with a model and the tokenizer of its targets."""
    assert tokenizer.bos_id is not None
    assert tokenizer.eos_id is not None
    return decode(
        model,
        batch.source,
        batch.source_lengths,
        decoding,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        max_length=max_length,
        with_weights=with_weights,
        chance=Chance(seed, batch.rows) if decoding.decoder == "sample" else None,
    )


def default_max_length(longest_target: int) -> int:
    """Twice the longest training answer, in tokens: room to be wrong, and an end."""
    return 2 * longest_target + 1


def _belong(bundle: Bundle, config: Seq2SeqConfig) -> bool:
    """Do the weights have the sizes of the configuration? Asked first: a made-up size could exhaust the memory."""
    try:
        sizes = bundle.weights["source_embedding.weight"].shape, bundle.weights["encoder.weight_hh_l0"].shape
    except KeyError:
        return False
    expected = bundle.tokenizers["source"].vocabulary_size, config.embedding_size
    return sizes[0] == expected and sizes[1][-1] == config.hidden_size and config.num_layers <= len(bundle.weights)
