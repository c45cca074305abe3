"""When a run is over."""

from __future__ import annotations

import pytest

from eightfold.errors import RecipeError
from eightfold.training.ending import AUTO_EPOCHS, FALLS, PATIENCE, Ending, target_of
from eightfold.training.history import Epoch, Totals, best_of


def epochs(*accuracies: float) -> list[Epoch]:
    return [
        Epoch(at, 10 * at, 1.0, 0.5, 1 - value, value, 0.1, 64, 2.0, 80.0, 3.0)
        for at, value in enumerate(accuracies, 1)
    ]


def test_a_number_of_epochs() -> None:
    ending = Ending(3)
    assert ending.most == 3
    assert [ending.verdict(epochs(*[0.5] * n), []) for n in (1, 2, 3)] == ["go on", "go on", "epochs"]


def test_a_target_ends_it_at_once() -> None:
    ending = Ending(10, target=0.9)
    assert ending.verdict(epochs(0.5, 0.89), []) == "go on"
    assert ending.verdict(epochs(0.5, 0.9), []) == "target"


def test_a_target_counts_when_pictures_have_grown() -> None:
    ending = Ending(10, target=0.9, growing=2)
    assert ending.verdict(epochs(0.95, 0.95), []) == "go on"
    assert ending.verdict(epochs(0.95, 0.95, 0.9), []) == "target"


def test_without_a_number_the_rate_falls_and_then_it_ends() -> None:
    ending, lowered, history = Ending(), list[int](), [0.5, 0.7]
    ends = []
    for _ in range(FALLS + 1):
        while (verdict := ending.verdict(epochs(*history), lowered)) == "go on":
            history.append(0.6)
        ends.append((verdict, len(history)))
        lowered.append(len(history))
        history.append(0.6)
    first = 2 + PATIENCE
    assert ends == [
        ("lower the rate", first),
        ("lower the rate", first + PATIENCE),
        ("no gain", first + 2 * PATIENCE),
    ]


def test_a_better_epoch_begins_the_wait_anew() -> None:
    assert Ending().verdict(epochs(0.7, *[0.6] * PATIENCE), []) == "lower the rate"
    assert Ending().verdict(epochs(0.7, *[0.6] * (PATIENCE - 1), 0.8), []) == "go on"
    assert Ending().most == AUTO_EPOCHS


@pytest.mark.parametrize(
    ("text", "value"), [("accuracy=0.98", 0.98), ("0.98", 0.98), (".5", 0.5), ("98%", 0.98), ("1", 1.0), ("1.0", 1.0)]
)
def test_targets(text: str, value: float) -> None:
    assert target_of(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["loss=0.1", "98", "-0.5", "0", "120%", "", "accuracy"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(RecipeError, match="a target is a validation accuracy"):
        target_of(text)


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss() -> None:
    history = epochs(0.5, 0.8, 0.8)
    assert best_of(history) is history[1]  # their losses are equal: the first
    assert best_of([]) is None


def test_totals_weigh_batches_by_their_examples() -> None:
    totals = Totals()
    totals.add(1.0, 3, 4)
    totals.add(4.0, 2, 2)
    assert totals.mean_loss == pytest.approx(2.0)
    assert totals.accuracy == pytest.approx(5 / 6)


def test_an_epoch_as_json_and_in_words() -> None:
    (one,) = epochs(0.75)
    assert Epoch.from_json(one.to_json()) == one
    trained, validated = "loss 1.0000, accuracy 50.0%", "loss 0.2500, accuracy 75.0%"
    assert str(one) == f"epoch 1: {trained}; validation: {validated}; 80.0 images/s at 64 px"
