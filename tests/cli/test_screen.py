from __future__ import annotations

import io

import pytest
from rich.console import Console

from eightfold.cli.screen import Screen, _bars, _Stages


def test_progress_is_not_shown_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen().work() as tell:
        tell("calibrate", 5, 10)
    assert capsys.readouterr() == ("", "")


def test_what_takes_minutes_once_is_named_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen().work() as tell:
        tell("making the environment of a peer", 0, None)
        tell("making the environment of a peer", 5, None)
    assert capsys.readouterr() == ("", "making the environment of a peer\n")
    with Screen(quiet=True).work() as tell:
        tell("making the environment of a peer", 0, None)
    assert capsys.readouterr() == ("", "")


def test_each_stage_has_a_bar_on_a_terminal() -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=80)
    with _bars(console, shown=True) as bars:
        tell = _Stages(bars, spoken=False)
        tell("read", 0, None)
        tell("calibrate", 5, 10)
        tell("calibrate", 7, 10)
        tell("read", 1, 1)
    assert [(task.description, task.completed) for task in bars.tasks] == [
        ("reading the model", 1),
        ("calibrating", 7),
    ]
    assert "7/10" in terminal.getvalue()


def test_what_others_print_during_work_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(json=True)
    with screen.work():
        print("chatter")
    screen.show({"a": 1.5}, "a page")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ('{\n "a": 1.5\n}\n', "chatter\n")


def test_a_quiet_screen_shows_no_page(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(quiet=True).show({"a": 1}, "a page")
    assert capsys.readouterr().out == ""
