"""Lightning's progress bar, with epochs counted as harken's lines count them."""

from __future__ import annotations

from lightning.pytorch.callbacks import RichProgressBar


class Bar(RichProgressBar):
    """Counts epochs from 1, where Lightning's bar counts from 0."""

    def _get_train_description(self, current_epoch: int) -> str:
        told = f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"
        return f"{told:{len(self.validation_description)}}"  # as wide as the other bar, or they flicker
