"""Recipes: what is derived from the batch size and the number of steps, and why."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from eightfold.errors import RecipeError
from eightfold.training.recipe import TrainingRecipe, recipe_for
from eightfold.training.scaling import REFERENCES, batch_norm_momentum, warmup_steps


@pytest.mark.parametrize("name", ["sgd", "lars"])
def test_the_rate_of_gradient_descent_grows_as_the_batch(name: Any) -> None:
    at = {size: recipe_for(size, 50_000, 10, optimizer=name).rate for size in (32, 64, 128)}
    assert at[64] == pytest.approx(2 * at[32])
    assert at[128] == pytest.approx(4 * at[32])


@pytest.mark.parametrize("name", ["adam", "adamw", "lamb", "muon"])
def test_that_of_adam_and_its_kin_grows_as_its_square_root(name: Any) -> None:
    at = {size: recipe_for(size, 50_000, 10, optimizer=name).rate for size in (32, 64, 128)}
    assert at[64] == pytest.approx(math.sqrt(2) * at[32])
    assert at[128] == pytest.approx(2 * at[32])


@pytest.mark.parametrize("name", REFERENCES)
def test_no_batch_is_so_large_that_the_rate_leaves_its_bound(name: Any) -> None:
    one = recipe_for(10**6, 10**7, 10, optimizer=name)
    assert one.rate == REFERENCES[name].most
    assert f"at most {one.rate:g}" in one.why["rate"]


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, 0), (4, 0), (5, 1), (10, 2), (20, 2), (100, 10), (4000, 400), (10**6, 500)]
)
def test_warmup_is_a_tenth_of_the_steps_within_bounds(steps: int, expected: int) -> None:
    assert warmup_steps(steps) == expected


def test_the_momentum_of_batch_norms_forgets_the_start_and_keeps_within_bounds() -> None:
    for updates in (20, 50, 300, 990):
        assert batch_norm_momentum(updates) ** updates == pytest.approx(math.exp(-10), rel=1e-6)
    assert batch_norm_momentum(1) == 0.5
    assert batch_norm_momentum(10**6) == 0.99
    assert 0.99**30 > 0.7  # what Keras's own has not forgotten by then


def test_steps_count_the_smaller_batch_at_the_end_of_an_epoch() -> None:
    assert recipe_for(512, 1500, 10).steps == 30
    assert recipe_for(500, 1500, 10).steps == 30


def test_a_batch_is_no_larger_than_what_there_is() -> None:
    one = recipe_for(1024, 300, 5)
    assert (one.batch_size, one.steps) == (300, 5)


def test_large_batches_are_made_of_micro_batches() -> None:
    one = recipe_for(512, 1500, 10, micro_batch=64)
    assert (one.accumulate, one.micro_batch, one.batch_size) == (8, 64, 512)
    assert one.steps == 24 * 10 // 8
    assert one.batch_norm_momentum == batch_norm_momentum(240)
    assert "64 examples" in one.why["accumulate"]
    assert recipe_for(64, 1500, 10, micro_batch=64).accumulate == 1


def test_a_batch_that_micro_batches_do_not_fill_is_made_smaller() -> None:
    one = recipe_for(100, 1500, 10, micro_batch=32)
    assert (one.accumulate, one.micro_batch, one.batch_size) == (4, 25, 100)
    one = recipe_for(101, 1500, 10, micro_batch=32)
    assert (one.accumulate, one.micro_batch, one.batch_size) == (4, 25, 100)


def test_what_is_asked_for_is_taken_and_has_no_reason() -> None:
    one = recipe_for(
        64,
        1000,
        10,
        optimizer="sgd",
        rate=0.3,
        warmup=7,
        schedule="constant",
        momentum=0.8,
        weight_decay=0.02,
        label_smoothing=0.1,
    )
    assert (one.rate, one.warmup, one.schedule) == (0.3, 7, "constant")
    assert (one.momentum, one.weight_decay, one.label_smoothing) == (0.8, 0.02, 0.1)
    assert set(one.why) == {"batch_norm_momentum"}


def test_gradient_descent_for_small_steps_and_muon_for_large_ones() -> None:
    assert recipe_for(32, 15_000, 10).optimizer == "sgd"
    assert recipe_for(32, 300, 10).optimizer == "sgd"
    assert recipe_for(512, 1500, 10).optimizer == "muon"
    assert recipe_for(512, 10**6, 10).optimizer == "muon"


def test_a_batch_grows_in_equal_parts_of_the_run() -> None:
    one = recipe_for(512, 1500, 10, grow_from=64)
    assert one.growth == ((2, 64), (3, 128), (2, 256), (3, 512))
    assert [one.batch_in(epoch) for epoch in range(12)] == [64] * 2 + [128] * 3 + [256] * 2 + [512] * 5
    assert one.steps == 2 * 24 + 3 * 12 + 2 * 6 + 3 * 3
    assert one.schedule == "constant"
    assert one.rate == recipe_for(64, 1500, 10, optimizer="muon").rate
    assert "1711.00489" in one.why["growth"]
    assert TrainingRecipe(**json.loads(json.dumps(one.document()))) == one


def test_a_batch_grows_in_fewer_stages_where_epochs_are_few() -> None:
    assert recipe_for(1024, 5000, 3, grow_from=64).growth == ((1, 64), (1, 256), (1, 1024))
    assert recipe_for(1024, 5000, 1, grow_from=64).growth == ()
    assert recipe_for(64, 5000, 3, grow_from=64).growth == ()
    assert recipe_for(100, 5000, 4, grow_from=64).growth == ((2, 64), (2, 100))


def test_growth_ends_at_the_batch_size_and_is_not_accumulated() -> None:
    with pytest.raises(RecipeError, match="accumulate must be 1 where the batch grows, received 8"):
        recipe_for(512, 1500, 10, grow_from=64, micro_batch=64)
    with pytest.raises(RecipeError, match="growth must be stages of epochs and batch size that end at 64"):
        TrainingRecipe(optimizer="sgd", batch_size=64, steps=5, rate=0.1, growth=((2, 32),))


def test_it_is_written_as_json_and_as_words() -> None:
    one = recipe_for(512, 1500, 10)
    document = json.loads(json.dumps(one.document()))
    assert TrainingRecipe(**document) == one
    assert set(document["why"]) == {"optimizer", "rate", "warmup", "schedule", "batch_norm_momentum"}
    text = str(one)
    for name, reason in one.why.items():
        assert f"{name}: " in text
        assert reason in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "adagrad"}, "there is no optimizer 'adagrad'; expected auto or one of sgd, "),
        ({"schedule": "linear"}, "schedule must be one of cosine, constant, received 'linear'"),
        ({"rate": 0}, "rate must be a number above 0, received 0"),
        ({"rate": math.nan}, "rate must be a number above 0, received nan"),
        ({"warmup": 1000}, "warmup must be a whole number from 0 to the 30 steps, received 1000"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, received 1.0"),
        ({"weight_decay": -0.1}, "weight_decay must be a number of at least 0, received -0.1"),
        ({"label_smoothing": 1}, "label_smoothing must be at least 0 and below 1, received 1"),
        ({"grow_from": 0}, "grow_from must be None or a whole number of at least 1, received 0"),
        ({"micro_batch": 0}, "micro_batch must be None or a whole number of at least 1, received 0"),
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_for(512, 1500, 10, **wrong)


@pytest.mark.parametrize("name", ["batch_size", "examples", "epochs"])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "32"])
def test_counts_are_whole_numbers(name: str, value: Any) -> None:
    counts = {"batch_size": 32, "examples": 100, "epochs": 2, name: value}
    with pytest.raises(RecipeError, match=f"{name} must be a whole number of at least 1, received {value!r}"):
        recipe_for(**counts)


@pytest.mark.parametrize("name", ["final", "batch_norm_momentum"])
def test_shares_are_from_0_to_1(name: str) -> None:
    with pytest.raises(RecipeError, match=f"{name} must be a number from 0 to 1, received 1.5"):
        replace(recipe_for(32, 1500, 10), **{name: 1.5})


def test_micro_batches_divide_the_batch() -> None:
    with pytest.raises(RecipeError, match="accumulate must be a divisor of the batch size 10, received 3"):
        TrainingRecipe(optimizer="sgd", batch_size=10, accumulate=3, steps=5, rate=0.1)
