"""The kernel's short form of sets of CPUs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.system import cpu_list


@pytest.mark.parametrize(
    ("text", "cpus"), [("", ()), ("0", (0,)), ("0-3,8\n", (0, 1, 2, 3, 8)), ("10-11, 2", (2, 10, 11))]
)
def test_lists_of_the_kernel(text: str, cpus: tuple[int, ...]) -> None:
    assert cpu_list.parse(text) == cpus


@given(st.sets(st.integers(0, 300)))
def test_what_is_written_is_read_back(cpus: set[int]) -> None:
    assert set(cpu_list.parse(cpu_list.write(cpus))) == cpus


def test_runs_are_written_short() -> None:
    assert cpu_list.write([5, 3, 4, 9, 11, 10, 3]) == "3-5,9-11"


def test_no_list() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        cpu_list.parse("all")
