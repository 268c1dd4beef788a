"""harken predict of a language model: what comes after a prompt, as it comes."""

import signal
import sys

import pytest

import harken as library

SHORT = ("--max-tokens", "12", "--seed", "3")


@pytest.fixture(scope="module")
def model(writer):
    return library.load(writer)


def test_the_prompt_and_what_goes_on_after_it(harken, writer, model):
    options = ["--temperature", "0.8", "--top-p", "0.9", "--max-tokens", "20", "--seed", "1"]
    result = harken("predict", writer, "--prompt", "the dog", *options)
    assert (result.code, result.err) == (0, "")
    written = model.generate("the dog", temperature=0.8, top_p=0.9, max_tokens=20, seed=1)
    assert result.out == f"the dog{written}".removesuffix("\n") + "\n"
    assert len(written.replace("\n", " \n ").split(" ")) > 10


def test_json_is_one_object_with_all_that_it_takes_to_write_it_again(harken, writer, model):
    result = harken("predict", writer, "--prompt", "the dog", *SHORT, "--json")
    assert result.json == {
        "prompt": "the dog",
        "text": model.generate("the dog", max_tokens=12, seed=3),
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 12,
        "seed": 3,
    }


def test_what_the_run_was_trained_with_holds_where_nothing_is_typed(harken, text, tiny_text, tmp_path):
    options = [*tiny_text, "--max-tokens", "5", "--temperature", "0", "--seed", "4"]
    assert harken("train", text, *options, "--out", tmp_path / "run").code == 0
    found = harken("predict", tmp_path / "run", "--prompt", "", "--json").json
    assert (found["max_tokens"], found["temperature"], found["seed"]) == (5, 0, 4)
    assert found["text"] == library.load(tmp_path / "run").generate(max_tokens=5, temperature=0)


def test_the_seed_decides_and_temperature_0_leaves_nothing_to_it(harken, writer):
    def write(seed, *options):
        return harken("predict", writer, "--prompt", "a", "--seed", seed, "--max-tokens", "20", *options).out

    assert write(1) == write(1)
    assert len({write(seed) for seed in range(4)}) > 1
    assert len({write(seed, "--temperature", "0") for seed in range(4)}) == 1


@pytest.mark.parametrize(
    ("stdin", "prompt"),
    [("the dog", "the dog"), ("the dog\n", "the dog"), ("the dog\r\n", "the dog"), ("a\nb\n\n", "a\nb\n"), ("", "")],
)
def test_what_is_piped_in_is_the_prompt(harken, writer, stdin, prompt):
    piped = harken("predict", writer, *SHORT, stdin=stdin)
    assert piped == harken("predict", writer, *SHORT, "--prompt", prompt, stdin="not looked at")


def test_on_a_terminal_a_text_begins(harken, writer, monkeypatch):
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    result = harken("predict", writer, *SHORT)
    assert (result.code, result.err) == (0, "")
    assert result == harken("predict", writer, *SHORT, "--prompt", "")


def test_every_piece_is_seen_as_it_comes(start, writer):
    """A reader has the prompt and more while text is still being written."""
    process = start("predict", writer, "--prompt", "the dog", "--max-tokens", "100000000")
    seen = process.stdout.read(40)
    assert seen.startswith("the dog")
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out = seen + process.stdout.read()  # communicate() knows nothing of what was read ahead: a line's end may be there
    err = process.communicate(timeout=60)[1]
    assert (process.returncode, err) == (130, "")
    assert out.endswith("\n"), "the line has an end"


def test_a_closed_pipe_is_no_error_worth_telling(start, writer):
    """As in ``harken predict RUN | head -1``."""
    process = start("predict", writer, "--prompt", "the dog", "--max-tokens", "100000000")
    process.stdin.close()
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=60)
    with process.stderr as err:
        assert err.read() == ""


def test_a_prompt_of_unknown_tokens_is_a_warning(harken, writer):
    result = harken("predict", writer, "--prompt", "qué zebra", *SHORT)
    assert (result.code, result.out[:9]) == (0, "qué zebra")
    assert result.err.splitlines() == [
        "warning: prompts with something that training never showed: 1 of 1 ('qué', 'zebra'); it is read as unknown"
    ]
    strict = harken("predict", writer, "--prompt", "the zebra", "--strict", *SHORT)
    assert (strict.code, strict.out) == (1, "")
    assert "('zebra')" in strict.sentence
    assert harken("predict", writer, "--prompt", "the dog", "--strict", *SHORT).err == ""


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        (["--max-tokens", "0"], None, 2, ("max_tokens (0)", "greater than or equal to 1")),
        (["--top-p", "0"], None, 2, ("top_p (0.0)", "greater than 0")),
        (["--top-p", "1.5"], None, 2, ("top_p (1.5)", "less than or equal to 1")),
        (["--temperature", "-0.5"], None, 2, ("temperature (-0.5)", "greater than or equal to 0")),
        (["the dog"], None, 2, ("answers no texts", "--prompt")),
        (["--data", "in.txt"], None, 2, ("--data", "goes on after a prompt")),
        (["--out", "out.jsonl"], None, 2, ("--out", "standard output")),
        (["--prompt", "a", "the dog"], None, 2, ("answers no texts", "--prompt")),
        (["--prompt", "a", "--data", "in.txt"], None, 2, ("--data", "leave it out")),
        (["--prompt", "a", "--out", "story.txt"], None, 2, ("--out", "standard output")),
        (["--prompt", "a\udce9"], None, 2, ("--prompt", "UTF-8")),
        (["--prompt", "a", "--encoding", "latin-1"], None, 2, ("--encoding changes nothing",)),
        (["--prompt", "a", "--beam-size", "3"], None, 2, ("'beam_size'", "task=seq2seq", "language-model")),
        (["--prompt", "a", "--text", "review"], None, 2, ("'text'", "not of task=language-model")),
        ([], b"ok\ncaf\xe9\n", 1, ("line 2 of standard input", "UTF-8")),
    ],
)
def test_bad_input_is_one_sentence(harken, writer, tmp_path, monkeypatch, arguments, stdin, code, words):
    monkeypatch.chdir(tmp_path)
    result = harken("predict", writer, *arguments, stdin=stdin)
    assert result.code == code, result.err
    assert all(word in result.sentence for word in words), result.sentence
    assert result.out == ""
    assert not list(tmp_path.iterdir())


def test_runs_that_answer_rows_have_no_prompt(harken, run):
    result = harken("predict", run, "--prompt", "1037")
    assert result.code == 2
    assert "--prompt is for language models" in result.sentence
    result = harken("predict", run, "1037", "--top-p", "0.5")
    assert result.code == 2
    assert "'top_p' is an option of task=language-model, not of task=seq2seq" in result.sentence
