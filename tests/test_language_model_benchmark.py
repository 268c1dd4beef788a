"""The benchmark of the language model: which runs there are, what is said of them; the loop that it races runs."""

from __future__ import annotations

import gzip
import json
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from benchmarks import language_model, language_model_once, language_model_rows
from benchmarks.harness import Run
from benchmarks.language_model_rows import ATTENTION, BFLOAT16, HARKEN, LOOP, NONE, Job
from benchmarks.peers import word_language_model as peer

from harken.config import RunConfig
from harken.data import synthetic
from harken.data.corpus import encode, fit_tokenizer
from harken.data.running_text import RunningText

PEER = Path(peer.__file__)


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """On a corpus of a few lines."""
    (tmp_path / "ptb").mkdir()
    (tmp_path / "tinyshakespeare").mkdir()
    for name in ("train", "valid", "test"):
        with gzip.open(tmp_path / "ptb" / f"ptb.{name}.txt.gz", "wt") as file:
            file.write(" a <unk> of it \n" * 1000)
    with gzip.open(tmp_path / "tinyshakespeare" / "input.txt.gz", "wt") as file:
        file.write("0123456\n9\n" * 10)
    monkeypatch.setattr(language_model, "DATA", tmp_path)

    def make(quick: bool) -> language_model.Plan:
        return language_model.Plan(tmp_path, quick)

    return make


def run(seed: int = 0, seconds: float = 60.0, **value: object) -> Run:
    return Run("it", {}, seed, {"seconds": seconds, **value}, 100.0, 1, "abc", "a machine", 0.0)


def by_claim(rows) -> dict[str, tuple]:
    return {row["claim"]: (row["value"], row["holds"]) for row in rows}


# which runs there are


def test_the_most_important_runs_come_first(plan):
    jobs = list(plan(False).jobs())
    assert [job.part for job in jobs[:2]] == ["ptb", "ptb"]
    first = jobs[2:4]
    assert {job.name for job in first} == {ATTENTION, NONE}
    assert {job.seed for job in jobs if job.name == ATTENTION and job.part == "parts"} == {0, 1}
    assert {job.seed for job in jobs if job.name == "not tied"} == {0}
    assert {job.part for job in jobs} | {"speed"} == set(language_model.PARTS)


@pytest.mark.parametrize("quick", [False, True])
def test_what_is_run_is_what_is_stored(plan, quick):
    made = plan(quick)
    calls = made.jobs() | made.tests() | made.turns()
    keys = [json.dumps(call[:3], sort_keys=True) for call in calls.values()]
    assert len(set(keys)) == len(keys), "a run would be taken for another"
    for name, settings, seed, command in calls.values():
        assert command[command.index("--seed") + 1] == str(seed) if "test" not in command else name == "PTB, test text"
        if "quality" in command or "speed" in command:
            options = {n: v for n, v in settings.items() if n not in ("windows", "generate")}
            RunConfig.build({"task": "language-model"}).override(**options)  # harken knows them, and takes them
            assert all(any(word.startswith(f"{name}=") for word in command) for name in options)
        elif str(PEER) in command:
            told = peer.arguments().parse_args(command[1:])
            assert all(getattr(told, name) == value for name, value in settings.items())


def test_every_option_of_the_model_and_its_training_is_spelled_out():
    run = RunConfig.build({"task": "language-model"})
    told = {"cell", "include_current", "monitor", "min_steps", "seed", "patience"}  # as no run should change them
    told |= {"show_examples", "accelerator", "devices", "logger", "checkpoint_minutes"}
    for section in ("model", "training"):
        assert set(type(getattr(run, section)).model_fields) <= set(language_model.PTB) | told


def test_a_model_without_attention_has_as_many_parameters(plan):
    jobs = plan(False).jobs()
    for part in ("parts", "recall"):
        sizes = [language_model.parameters(jobs[Job(part, name, 0)][1]) for name in (ATTENTION, NONE)]
        assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_test_text_is_read_with_the_model_that_was_kept(plan):
    made = plan(False)
    for seed in range(language_model.PTB_SEEDS):
        trained, tested = made.jobs()[Job("ptb", "validation", seed)], made.tests()[Job("ptb", "test", seed)]
        kept = [command[command.index("--keep") + 1] for *_, command in (trained, tested)]
        assert kept[0] == kept[1]
        assert not any("ptb.test" in word for word in trained[3])
        assert any("ptb.test" in word for word in tested[3])


def test_the_play_is_cut_after_nine_tenths_of_its_characters(plan):
    files = plan(False).shakespeare
    text = "0123456\n9\n" * 10
    assert files["train"].read_text() == text[:90]
    assert files["valid"].read_text() == text[90:]


def test_quick_reads_the_beginning(plan):
    made = plan(True)
    assert len(made.ptb["train"].read_text().splitlines()) == language_model.QUICK_LINES
    assert {job.seed for job in made.jobs() | made.turns()} == {0}


def test_parts_that_are_not_chosen_are_not_run(plan, tmp_path, monkeypatch):
    store = language_model.Store.open(tmp_path / "language_model.json", 1)
    ran = []

    def run_script(*command):
        ran.append(command)
        return {"seconds": 60.0, "bits_per_character": 2.0}

    monkeypatch.setattr("benchmarks.harness.run_script", run_script)
    monkeypatch.setattr("benchmarks.harness.busy", lambda: 0.0)
    rows = language_model.benchmark(store, True, ["characters"])
    assert len(ran) == len(language_model.CHARACTER_VARIANTS) + len(language_model.LOOPS)
    assert all("tinyshakespeare" in row["claim"] for row in rows)
    assert by_claim(language_model.benchmark(store, True, [])) == by_claim(rows), "what was measured before is told"
    assert len(ran) == len(language_model.CHARACTER_VARIANTS) + len(language_model.LOOPS)


# what is said of them


def test_rows_of_nothing():
    assert language_model_rows.rows({}) == []


def test_perplexity_and_the_time_it_took():
    trained = {"perplexity": 94.0, "train_rate": 5e3, "parameters": 7_000_000}
    found = {Job("ptb", "validation", seed): run(seed, 1740.0 + 120 * seed, **trained) for seed in range(2)}
    rows = by_claim(language_model_rows.ptb_rows(found))
    assert rows["PTB: validation perplexity"] == (94.0, True)
    assert rows["PTB: minutes of training, one core"] == (30.0, True)
    assert "PTB: test perplexity" not in rows
    found[Job("ptb", "test", 0)] = run(perplexity=91.0)
    assert by_claim(language_model_rows.ptb_rows(found))["PTB: test perplexity"] == (91.0, None)


def test_ptb_that_was_read_otherwise_is_refused():
    found = {Job("ptb", "validation", 0): run(tokens=929_589, rows=73_760), Job("ptb", "test", 0): run(tokens=82_430)}
    language_model_rows.check_tokens(found)
    found[Job("ptb", "test", 0)] = run(tokens=82_431)
    with pytest.raises(SystemExit, match=r"test text has 82,430 tokens, and 82,431"):
        language_model_rows.check_tokens(found)


def test_the_parts_beside_size_and_time():
    found = {
        Job("parts", ATTENTION, 0): run(0, 600.0, perplexity=110.0, parameters=7_000_000, epochs=3),
        Job("parts", NONE, 0): run(0, 540.0, perplexity=114.0, parameters=7_010_000, epochs=3),
        Job("parts", ATTENTION, 1): run(1, 600.0, perplexity=112.0, parameters=7_000_000, epochs=3),
        Job("parts", NONE, 1): run(1, 540.0, perplexity=114.0, parameters=7_010_000, epochs=3),
        Job("parts", "not tied", 0): run(0, 660.0, perplexity=130.0, parameters=11_000_000, epochs=2),
    }
    rows = by_claim(language_model_rows.part_rows(found))
    told = f"PTB, {NONE} (7.01 M parameters, 3 epochs, 9.0 min): validation perplexity"
    assert rows[told] == (114.0, None)
    assert rows["PTB: perplexity that attention saves at equal parameters"] == (3.0, None)
    assert rows["PTB, not tied (11.00 M parameters, 2 epochs, 11.0 min): validation perplexity"] == (130.0, None)
    found[Job("parts", NONE, 0)].value["parameters"] = 6_000_000
    with pytest.raises(SystemExit, match="not as many"):
        language_model_rows.part_rows(found)


def test_characters_beside_the_best_way_of_the_loop():
    bits = {HARKEN: 2.0, "SGD": 2.5, "Adam": 2.25}
    found = {Job("characters", name, 0): run(bits_per_character=value) for name, value in bits.items()}
    rows = by_claim(language_model_rows.character_rows(found))
    assert rows["tinyshakespeare: bits per character that harken saves over the loop, Adam"] == (0.25, None)
    assert rows["tinyshakespeare, the loop, SGD (1.0 min): bits per character"] == (2.5, None)


@pytest.mark.parametrize(("right", "wrong", "holds"), [(0.995, 0.3, (True, True)), (0.98, 0.7, (False, False))])
def test_recall_needs_attention(right, wrong, holds):
    found = {
        Job("recall", ATTENTION, 0): run(accuracy=right, parameters=10),
        Job("recall", NONE, 0): run(accuracy=wrong, parameters=10),
    }
    assert tuple(row["holds"] for row in language_model_rows.recall_rows(found)) == holds


def test_speed_is_that_of_the_same_turn_and_the_same_precision():
    rates = {HARKEN: 300.0, HARKEN + BFLOAT16: 800.0, LOOP: 100.0, LOOP + BFLOAT16: 200.0, f"{LOOP}, Adam": 50.0}
    rates[f"{HARKEN} with attention"] = 120.0
    found = {
        Job("speed", name, turn): run(turn, train_rate=rate * (turn + 1), generation_rate=rate, parameters=7)
        for turn in range(3)
        for name, rate in rates.items()
    }
    rows = by_claim(language_model_rows.speed_rows(found))
    assert rows["PTB, training: harken"] == (600.0, None)
    assert rows["PTB, training: harken, times the loop, median"] == (3.0, True)
    assert rows["PTB, training: harken, bfloat16, times the loop, bfloat16, median"] == (4.0, True)
    assert rows["PTB, training: harken with attention, times the loop, median"] == (1.2, None)
    assert rows["PTB, generation: harken, times the loop, bfloat16, median"] == (1.5, False)
    assert rows["PTB, generation: harken, bfloat16, times the loop, bfloat16, median"] == (4.0, True)
    found[Job("speed", HARKEN, 0)].value["parameters"] = 9
    with pytest.raises(SystemExit, match="harken has 9 parameters, the loop 7"):
        language_model_rows.speed_rows(found)


# one run


class Oracle:
    """Instead of a network: it knows the text, and is wrong about all words but those it is told."""

    def __init__(self, ids: torch.Tensor, known: list[bool]) -> None:
        self.answers, self.read = torch.where(torch.tensor(known), ids.long(), 0), 0

    def __call__(self, ids: torch.Tensor, lengths: torch.Tensor, state: None) -> SimpleNamespace:
        self.read += ids.shape[1]
        return SimpleNamespace(features=self.answers[None, self.read - ids.shape[1] : self.read], state=None)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(features, 200)


@pytest.mark.parametrize(("values", "accuracy"), [(True, 1.0), (False, 0.0)])
def test_answers_are_looked_for_where_they_stand(values, accuracy):
    made = synthetic.recall(12, 0)
    text = RunningText.from_texts([language_model_once.running(made.texts)])
    tokenizer = fit_tokenizer(text, "word", 200)
    words = " \n ".join([*made.texts, ""]).split(" ")[:-1]
    asked = [False] * len(words)
    for place in range(1, len(words)):
        before = words[:place]
        asks = "?" in before[len(before) - before[::-1].index("\n") if "\n" in before else 0 :]
        asked[place] = asks and words[place].startswith("v")
    assert sum(asked) == sum(map(len, made.answers))
    oracle = Oracle(encode(text, tokenizer).ids, [known == values for known in asked])
    model = SimpleNamespace(predictor=SimpleNamespace(model=oracle, tokenizer=tokenizer))
    assert language_model_once.answered(model, made) == accuracy


def test_the_clock_counts_epochs_without_their_validation(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(language_model_once.time, "perf_counter", lambda: float(next(now)))
    monkeypatch.setattr(language_model_once.time, "process_time", lambda: 0.0)
    clock = language_model_once.Clock(windows=4)
    clock.pause()  # before anything
    for window in range(4):
        clock.window()  # 0 1 | 3 4
        if window == 1:
            clock.pause()  # 2
    with pytest.raises(language_model_once.Interrupted):
        clock.window()  # 5, and 6 when it stops
    assert clock.starts == [0, 1, 3, 4, 5]
    assert clock.wall == 2 + 3


def test_options_are_json_or_words():
    found = language_model_once.parsed(["attention=dot", "tied=true", "dropout=0.5", "epochs=3"])
    assert found == {"attention": "dot", "tied": True, "dropout": 0.5, "epochs": 3}


# the loop


def options(*words: str) -> Namespace:
    return peer.arguments().parse_args(list(words))


def test_columns_of_text_and_what_comes_next():
    source = peer.batchify(torch.arange(11), 2)
    assert source.tolist() == [[0, 5], [1, 6], [2, 7], [3, 8], [4, 9]]
    data, targets = peer.get_batch(source, 2, 3)
    assert data.tolist() == [[2, 7], [3, 8]]
    assert targets.tolist() == [3, 8, 4, 9]


def test_a_text_is_read_as_words_with_the_ends_of_lines_or_as_characters(tmp_path):
    for name in ("train", "valid"):
        (tmp_path / name).write_text(" a <unk> b \n b \n")
    files = ("--train", str(tmp_path / "train"), "--valid", str(tmp_path / "valid"))
    words, _, types = peer.texts(options(*files))
    assert words.ids.tolist() == [0, 1, 2, 3, 2, 3]
    assert (words.characters, types) == (16, 4)
    assert len(peer.texts(options(*files, "--unit", "char"))[0].ids) == 16


def test_the_loss_of_the_loop_is_that_of_one_pass():
    torch.manual_seed(0)
    model, ids = peer.RNNModel(7, 4, 4, 2, 0.5, tied=True), torch.randint(7, (23,))
    several = peer.evaluate(model, ids, options("--bptt", "5"), 1)
    with torch.no_grad():
        output, _ = model(ids[:-1, None], model.init_hidden(1))
    assert several == pytest.approx(torch.nn.functional.nll_loss(output, ids[1:]).item(), rel=1e-5)


def training(*words: str) -> peer.Training:
    told = options("--minutes", "1", "--batch", "2", "--bptt", "5", "--threads", "1", *words)
    text = peer.Text(torch.randint(5, (40,)), 40)
    return peer.Training(peer.RNNModel(5, 3, 3, 1, 0.0, tied=False), told, text, text)


def test_sgd_anneals_when_validation_is_no_better(monkeypatch):
    trained, losses, passes = training(), iter([2.0, 3.0, 1.0, 9.0]), iter([False, False, True])

    def epoch():
        trained.seconds.append(1.0)
        trained.spent = next(passes)

    monkeypatch.setattr(peer, "evaluate", lambda *_: next(losses))
    monkeypatch.setattr(trained, "epoch", epoch)
    trained.run()
    assert trained.optimizer.param_groups[0]["lr"] == 5.0


def test_the_rate_of_adam_is_through_when_the_budget_is():
    trained = training("--optimizer", "adam", "--learning-rate", "0.1")
    trained.clock.seconds, trained.clock.began = 30.0, trained.clock.now()
    assert not trained.is_spent()
    assert trained.optimizer.param_groups[0]["lr"] == pytest.approx(0.05, rel=0.01)
    trained.clock.seconds = 60.0
    assert trained.is_spent()
    assert trained.optimizer.param_groups[0]["lr"] == pytest.approx(0.0)


@pytest.mark.parametrize("more", [["--tied", "--bf16"], ["--optimizer", "adam", "--learning-rate", "0.002"]])
def test_the_loop_runs(tmp_path, monkeypatch, more):
    report = tmp_path / "report.json"
    words = ["--vocabulary", "20", "--length", "2000", "--embedding", "8", "--hidden", "8", "--batch", "4"]
    words += ["--bptt", "5", "--windows", "2", "--generate", "3", "--json", str(report)]
    monkeypatch.setattr(sys, "argv", [str(PEER), *words, *more])
    peer.main()
    found = json.loads(report.read_text())
    assert found["train_rate"] > 0
    assert found["generation_rate"] > 0
    tied = "--tied" in more
    assert found["parameters"] == (2 - tied) * 20 * 8 + 20 + 2 * 4 * 8 * (8 + 8 + 2)


def test_the_loop_learns(tmp_path, monkeypatch):
    for name in ("train", "valid"):
        (tmp_path / name).write_text("a b c d e\n" * 200)
    report = tmp_path / "report.json"
    words = ["--train", str(tmp_path / "train"), "--valid", str(tmp_path / "valid"), "--embedding", "16"]
    words += ["--hidden", "16", "--dropout", "0", "--batch", "4", "--minutes", "0.01", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", [str(PEER), *words, "--json", str(report)])
    threads = torch.get_num_threads()
    peer.main()
    torch.set_num_threads(threads)
    assert json.loads(report.read_text())["perplexity"] < 2
