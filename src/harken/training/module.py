"""A model as Lightning trains it, whatever its task."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from harken.errors import ConfigError, DataError
from harken.training.objective import Objective
from harken.training.optimizer import LARGE, TableAdamW, clip_gradients, tables

if TYPE_CHECKING:
    from harken.config import TrainingConfig
    from harken.data.ordering import Loader


class TrainingModule(pl.LightningModule):
    """Optimiser, loss and validation of a model.

    The loss of a step is the mean over what the objective counts. Chance is drawn from (seed, step), so that a resumed
    run draws what an uninterrupted one would have drawn. Parameters that want no gradient are left as they are.

    Args:
        options: how to train.
        batches: all training rows; each process trains on its share of the batches.
        validation_batches: rows that choose the best epoch; None: none do.
        data: fingerprint of the rows and their vocabulary, which a resumed run must share.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        options: TrainingConfig,
        batches: Loader[Any],
        validation_batches: Loader[Any] | None,
        data: str,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.options = model, objective, options
        self.batches, self.validation_batches, self.data = batches, validation_batches, data
        self._loss_sum = torch.zeros((), dtype=torch.float64)
        self._loss_count = torch.zeros((), dtype=torch.float64)
        self._sparse = False  # whether a gradient is

    def train_dataloader(self) -> Loader[Any]:
        """This process's batches."""
        return self.batches.shard(self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> Loader[Any] | list[Any]:
        """All batches in every process: there may be fewer than processes, and all must agree on the best epoch."""
        return self.validation_batches or []

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed this step's dropout."""
        seed = self.options.seed + (self.global_step + 1) * 1_000_003 + self.global_rank * 7_919
        # torch.manual_seed also writes the call stack down, and keeps it, for every accelerator that is not in use.
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Mean loss over the batch; 0, with gradients of 0, where nothing in it is to be answered."""
        total, counted = self.objective.loss(self.model, batch)
        self._loss_sum += total.detach().to(self._loss_sum)
        self._loss_count += counted.detach().to(self._loss_count)
        return total / torch.where(counted > 0, counted, 1)

    def train_loss(self) -> float:
        """Mean loss since the epoch began, as it was lowered; asking starts the next count."""
        loss = float(self._loss_sum / self._loss_count)
        self._loss_sum.zero_()
        self._loss_count.zero_()
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin a new score."""
        self.objective.reset()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Score one batch."""
        self.objective.add(self.model, batch)

    def on_validation_epoch_end(self) -> None:
        """Tell the progress bar and the logger."""
        for name, value in self.objective.result().items():
            shown = name in self.objective.headline
            self.log("valid_loss" if name == "loss" else name, value, prog_bar=shown)

    def configure_optimizers(self) -> Any:
        """Adam with decoupled weight decay, which biases, norms and tables of tokens are spared; one learning rate per
        step."""
        options, found = self.options, tables(self.model)
        # Where several processes average their gradients, or memory is fast, dense ones are: the result is the same.
        alone = self.device.type == "cpu" and self.trainer.world_size == 1 and "mixed" not in self.trainer.precision
        for table in found:
            table.sparse = alone and table.weight.numel() >= LARGE
        self._sparse = any(table.sparse for table in found)
        optimizer = TableAdamW(
            self._groups(found),
            lr=options.learning_rate,
            fused=self.trainer.precision != "16-mixed",  # whose gradients are scaled until they are clipped
        )
        # Counted by us: asking Lightning sets the loader up before a checkpoint is read, and its place is then lost.
        steps = options.epochs * len(self.train_dataloader())
        factor = learning_rate_factor(options.schedule, steps, options.warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self, found: list[nn.Embedding]) -> list[dict[str, Any]]:
        """Parameters by what is done to them: decayed, not decayed, learned row by row."""
        own = {id(table.weight) for table in found}
        trained = [p for p in self.model.parameters() if p.requires_grad and id(p) not in own]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in trained if p.dim() > 1], "weight_decay": self.options.weight_decay},
            {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return [*groups, {"params": [table.weight for table in found], "table": True}] if found else groups

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Lightning's way, which knows no sparse gradients and refuses a fused step in bfloat16, or ours."""
        if not self._sparse and self.trainer.precision != "bf16-mixed":
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            clip_gradients(self.model.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the running mean of the epoch's loss, and where in the epoch it is: a checkpoint may lie inside one."""
        checkpoint["harken_data"] = self.data
        checkpoint["harken_objective"] = self.objective.state_dict()
        checkpoint["harken_loss"] = [self._loss_sum.clone(), self._loss_count.clone()]
        checkpoint["harken_place"] = [self.batches.state_dict()["batches"], len(self.batches)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the running mean up again.

        Raises:
            DataError: the checkpoint comes from other rows.
            ConfigError: it lies inside an epoch that would now have another length, or is an earlier harken's.
        """
        if checkpoint["harken_data"] != self.data:
            raise DataError(
                "the rows are not those that the run began with, or their vocabulary is another: resume with the same "
                "data, --validation and --init-from"
            )
        done, steps = checkpoint["harken_place"]
        now = len(self.train_dataloader())
        if done < steps != now:
            raise ConfigError(
                f"epochs ({self.options.epochs}) gives an epoch {now} steps, and the run was interrupted in one of "
                f"{steps}: resume with the epochs that it had, and with more when it is through"
            )
        groups = len(checkpoint["optimizer_states"][0]["param_groups"])
        if groups != len(self._groups(tables(self.model))):
            raise ConfigError(
                "the run was begun by an earlier harken, which learned token vectors in another way: its bundle can be "
                "used, and started from with --init-from, but the run cannot go on"
            )
        self._loss_sum, self._loss_count = checkpoint["harken_loss"]
        self.objective.load_state_dict(checkpoint.get("harken_objective", {}))
        # Lightning reads the weights before it gives the model its precision, and they would be rounded on the way.
        self.model.to(next(w.dtype for w in checkpoint["state_dict"].values() if w.is_floating_point()))


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
