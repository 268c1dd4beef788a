"""The sequence-to-sequence model as Lightning trains it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from harken.errors import DataError
from harken.models.seq2seq import Seq2SeqModel, token_loss

if TYPE_CHECKING:
    from harken.config import RunConfig
    from harken.data.batching import Batch, PairLoader
    from harken.training.scoring import Scorer


class Seq2SeqModule(pl.LightningModule):
    """Loss, optimiser and validation of a `Seq2SeqModel`.

    The loss of a step is the mean over the batch's real target tokens. Chance is drawn from (seed, step), so that a
    resumed run draws what an uninterrupted one would have drawn.

    Args:
        batches, validation_batches: all rows; each process trains on its share of the batches.
        data: fingerprint of the rows, which a resumed run must share.
    """

    def __init__(
        self,
        model: Seq2SeqModel,
        config: RunConfig,
        scorer: Scorer,
        batches: PairLoader,
        validation_batches: PairLoader,
        data: str,
    ) -> None:
        super().__init__()
        self.model, self.run_config, self.scorer = model, config, scorer
        self.batches, self.validation_batches, self.data = batches, validation_batches, data
        self.examples: dict[int, str] = {}  # row → answer, of the rows to show after the epoch
        self._loss_sum = torch.zeros((), dtype=torch.float64)
        self._loss_tokens = torch.zeros((), dtype=torch.float64)

    def train_dataloader(self) -> PairLoader:
        """This process's batches."""
        return self.batches.shard(self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> PairLoader:
        """All batches in every process: there may be fewer than processes, and all must agree on the best epoch."""
        return self.validation_batches

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed this step's dropout."""
        seed = self.run_config.training.seed + (self.global_step + 1) * 1_000_003 + self.global_rank * 7_919
        # torch.manual_seed also writes the call stack down, and keeps it, for every accelerator that is not in use.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean negative log-likelihood per real target token."""
        assert batch.target_in is not None
        assert batch.target_out is not None
        assert batch.target_lengths is not None
        logits = self.model(batch.source, batch.source_lengths, batch.target_in, batch.target_lengths).logits
        smoothing = self.run_config.training.label_smoothing
        total = token_loss(logits, batch.target_out, batch.target_lengths, smoothing).sum()
        tokens = batch.target_lengths.sum()
        self._loss_sum += total.detach().to(self._loss_sum)
        self._loss_tokens += tokens.to(self._loss_tokens)
        return total / tokens

    def train_loss(self) -> float:
        """Mean loss per token since the epoch began, label smoothing included; asking starts the next count."""
        loss = float(self._loss_sum / self._loss_tokens)
        self._loss_sum.zero_()
        self._loss_tokens.zero_()
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin a new score."""
        self.scorer.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score one batch; keep the answers of the first few rows to show them."""
        answers = self.scorer.add(self.model, batch)
        shown = self.run_config.training.show_examples
        self.examples.update({row: text for row, text in answers.items() if row < shown})

    def on_validation_epoch_end(self) -> None:
        """Tell the callbacks, the progress bar and the logger."""
        scores = self.scorer.result()
        self.log_dict({"exact_match": scores.exact_match, "valid_loss": scores.loss}, prog_bar=True)
        self.log("token_accuracy", scores.token_accuracy)

    def configure_optimizers(self) -> Any:
        """Adam with decoupled weight decay; one learning rate per step."""
        training = self.run_config.training
        optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            fused="mixed" not in self.trainer.precision,  # Lightning refuses to clip under a fused step then
        )
        # Counted by us: asking Lightning sets the loader up before a checkpoint is read, and its place is then lost.
        steps = training.epochs * len(self.train_dataloader())
        factor = learning_rate_factor(training.schedule, steps, training.warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the running mean of the epoch's loss: a checkpoint may lie in mid-epoch."""
        checkpoint["harken_data"] = self.data
        checkpoint["harken_loss"] = [self._loss_sum.clone(), self._loss_tokens.clone()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the running mean up again.

        Raises:
            DataError: the checkpoint comes from other rows.
        """
        if checkpoint["harken_data"] != self.data:
            raise DataError(
                "the rows are not those that the run began with: resume with the same data and --validation"
            )
        self._loss_sum, self._loss_tokens = checkpoint["harken_loss"]


def learning_rate_factor(schedule: str, steps: int, warmup: float) -> Callable[[int], float]:
    """Step → factor of the learning rate.

    constant: 1. cosine: linear from 0 over ``warmup · steps``, then half a cosine down to 0, one step after the last
    (Loshchilov & Hutter 2017, equation 5, without restarts).
    """
    if schedule == "constant":
        return lambda step: 1.0
    rising = warmup * steps

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        progress = (step - rising) / max(1.0, steps - rising)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor
