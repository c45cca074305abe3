from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from eightfold.cli.failures import DEBUG, reported
from eightfold.data.imported import imported
from eightfold.errors import DataError


def outcome(command: Callable[..., object], **arguments: object) -> int:
    with pytest.raises(typer.Exit) as caught:
        reported(command)(**arguments)
    return caught.value.exit_code


def raising(error: BaseException) -> Callable[..., object]:
    def command(**arguments: object) -> object:
        raise error

    return command


def test_an_error_of_eightfold_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(raising(DataError("the data set is empty"))) == 2
    assert capsys.readouterr() == ("", "Error: the data set is empty\n")


def test_ctrl_c_exits_with_130_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "Interrupted; what was there before is untouched.\n"


def test_ctrl_c_that_tensorflow_turns_into_an_error_is_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("KeyboardInterrupt: ") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        assert outcome(command) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "Interrupted; what was there before is untouched.\n"


def test_anything_else_is_a_fault_to_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DEBUG, raising=False)
    assert outcome(raising(ValueError("seven"))) == 1
    said = capsys.readouterr().err
    assert "please report it: ValueError: seven" in said
    assert "Traceback" not in said
    monkeypatch.setenv(DEBUG, "1")
    assert outcome(raising(ValueError("seven"))) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_tensorflow_is_no_fault_of_eightfold(capsys: pytest.CaptureFixture[str]) -> None:
    error = ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
    assert outcome(raising(error)) == 2
    assert "TensorFlow is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def f():\n    raise KeyError('x')\n", "{}:f failed: KeyError: 'x'"),
        ("def f():\n    import sys; sys.exit(3)\n", "{}:f failed: SystemExit: 3"),
        ("def f(:\n", "{}:f failed: SyntaxError: invalid syntax"),
        ("1 / 0\n", "{}:f failed: ZeroDivisionError: division by zero"),
    ],
)
def test_an_exception_of_the_users_function_names_it(
    body: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    module = f"users_{abs(hash(request.node.name))}"
    (tmp_path / f"{module}.py").write_text(body)
    monkeypatch.chdir(tmp_path)

    def command(*, data: str) -> object:
        return imported(data)()

    assert outcome(command, data=f"{module}:f") == 2
    assert message.format(module) in capsys.readouterr().err
    sys.modules.pop(module, None)


def test_a_fault_beside_the_users_function_stays_a_fault() -> None:
    assert outcome(raising(ValueError("seven")), data="json:loads") == 1


def test_a_reader_that_has_had_enough_is_no_fault() -> None:
    with pytest.raises(BrokenPipeError):  # the program ends by it without a word
        reported(raising(BrokenPipeError()))()


def test_the_value_of_a_command_is_returned() -> None:
    assert reported(lambda: 7)() == 7
