"""harken.cli.output: results here, chatter there."""

import sys

import pytest

from harken.cli.output import chatter_aside, print_json, print_metrics, print_table, say, shown, working


def test_say_is_one_line_on_standard_error(capsys):
    say("first\nsecond")
    assert capsys.readouterr() == ("", "first second\n")


def test_chatter_goes_aside_and_results_do_not(capsys):
    with chatter_aside(True):
        print("chatter")
    print("result")
    assert capsys.readouterr() == ("result\n", "chatter\n")


def test_a_pipe_sees_no_spinner(capsys):
    with working("thinking"):
        pass
    assert capsys.readouterr() == ("", "")


def test_json_knows_no_nan(capsys):
    print_json({"loss": float("nan"), "deep": [{"x": float("inf")}], "text": "é"})
    assert capsys.readouterr().out == '{"loss": null, "deep": [{"x": null}], "text": "é"}\n'


def test_tables_in_a_pipe_keep_whole_cells_and_user_brackets(capsys):
    long = "x" * 300
    print_table(("a", "b"), [(long, "[red]danger[/red]")])
    out = capsys.readouterr().out
    assert f"{long} " in out
    assert "[red]danger[/red]" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("exact_match", 0.9994, "99.94%"),
        ("validation exact_match", 1.0, "100.00%"),
        ("loss", 0.000123456, "0.0001235"),
        ("rows", 45000, "45,000"),
        ("best_epoch", None, "none"),
    ],
)
def test_numbers_read_well(name, value, text):
    assert shown(name, value) == text


def test_metrics_are_a_table(capsys):
    print_metrics({"exact_match": 0.5, "rows": 2})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["exact", "match", "50.00%"] in lines
    assert ["rows", "2"] in lines


def test_spinners_turn_on_a_terminal_only(monkeypatch):
    import io

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with working("Reading [a].csv"):
        pass
    assert "Reading [a].csv" in terminal.getvalue()
