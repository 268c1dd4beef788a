from types import SimpleNamespace

from harken.training.progress import Bar


def test_the_bar_counts_epochs_as_the_lines_beside_it_do():
    bar = Bar()
    bar._trainer = SimpleNamespace(max_epochs=20)
    assert bar._get_train_description(0).strip() == "epoch 1/20"
    assert bar._get_train_description(19).strip() == "epoch 20/20"
