from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.calibration.observers import OBSERVERS, make_observer
from eightfold.errors import OutputError, RecipeError
from eightfold.graph.ir import Graph
from eightfold.graph.writer import Writer
from eightfold.quantization.recipe import Override, Recipe

EXAMPLE = """
observer = "percentile"
percentile = 99.9
weight_bits = 7
exclude = ["^head/", "logits$"]
exclude_ops = ["MatMul"]

[[override]]
op = "DepthwiseConv2dNative"
observer = "mse"
per_channel = false

[[override]]
match = "block1/conv"
keep = "fp32"
"""


def test_defaults() -> None:
    assert Recipe.from_toml("") == Recipe()
    recipe = Recipe()
    assert (recipe.observer, recipe.percentile, recipe.per_channel, recipe.weight_bits) == (
        "mse",
        99.99,
        True,
        None,
    )
    assert (recipe.offsets, recipe.min_tensorflow, recipe.min_sqnr_db, recipe.fallback) == (
        True,
        "2.16",
        10,
        True,
    )


def test_toml_becomes_the_same_value_as_python() -> None:
    assert Recipe.from_toml(EXAMPLE) == Recipe(
        observer="percentile",
        percentile=99.9,
        weight_bits=7,
        exclude=("^head/", "logits$"),
        exclude_ops=("MatMul",),
        overrides=(
            Override(op="DepthwiseConv2dNative", observer="mse", per_channel=False),
            Override(match="block1/conv", keep="fp32"),
        ),
    )


def test_lists_are_taken_as_tuples() -> None:
    recipe: Any = Recipe
    assert recipe(exclude=["a"], overrides=[Override(op="Conv2D", observer="kl")]) == Recipe(
        exclude=("a",), overrides=(Override(op="Conv2D", observer="kl"),)
    )


def test_settings_follow_overrides_in_order() -> None:
    recipe = Recipe.from_toml(EXAMPLE)
    plain = recipe.settings_for("block2/conv", "Conv2D")
    assert (plain.observer, plain.percentile, plain.per_channel, plain.fp32_reason) == (
        "percentile",
        99.9,
        True,
        None,
    )
    depthwise = recipe.settings_for("block2/dw", "DepthwiseConv2dNative")
    assert (depthwise.observer, depthwise.per_channel, depthwise.fp32_reason) == ("mse", False, None)
    last_wins = Recipe(overrides=(Override(match="a", observer="kl"), Override(match="ab", observer="mse")))
    assert last_wins.settings_for("cab", "Conv2D").observer == "mse"
    assert last_wins.settings_for("ca", "Conv2D").observer == "kl"


@pytest.mark.parametrize(
    ("name", "op", "reason"),
    [
        ("head/conv", "Conv2D", "the recipe excludes names with '^head/'"),
        ("my/logits", "Conv2D", "the recipe excludes names with 'logits$'"),
        ("any", "MatMul", "the recipe excludes every MatMul"),
        ("x/block1/conv_2", "Conv2D", "the recipe keeps nodes with match = 'block1/conv' in fp32"),
    ],
)
def test_nodes_kept_in_fp32_have_a_reason(name: str, op: str, reason: str) -> None:
    assert Recipe.from_toml(EXAMPLE).settings_for(name, op).fp32_reason == reason


def test_patterns_are_searched_for_anywhere() -> None:
    recipe = Recipe(exclude=("head",))
    assert recipe.settings_for("big_head/conv", "Conv2D").fp32_reason
    assert recipe.settings_for("body/conv", "Conv2D").fp32_reason is None


def test_an_override_with_match_and_op_needs_both() -> None:
    recipe = Recipe(overrides=(Override(match="dw", op="Conv2D", percentile=90),))
    assert recipe.settings_for("dw", "Conv2D").percentile == 90
    assert recipe.settings_for("dw", "MatMul").percentile == 99.99
    assert recipe.settings_for("x", "Conv2D").percentile == 99.99


def diamond() -> Graph:
    """a -> (b | c) -> d -> e"""
    w = Writer()
    a = w.node("Relu", w.input("x", (1, 2)), name="a")
    b, c = w.node("Relu", a, name="b"), w.node("Relu", a, name="c")
    d = w.node("AddV2", b, c, name="d")
    return w.model(y=w.node("Relu", d, name="e")).graph


def test_a_region_is_every_node_between_two() -> None:
    recipe = Recipe.from_toml('[[override]]\nregion = ["a", "d"]\nkeep = "bf16"\nrounding = "learned"').bound(diamond())
    reasons = {name: recipe.settings_for(name, "Relu").bf16_reason for name in "abcde"}
    assert [name for name, reason in reasons.items() if reason] == ["a", "b", "c", "d"]
    assert reasons["b"] == "the recipe keeps nodes with region = ['a', 'd'] in bf16"
    assert Recipe.from_toml(recipe.to_toml()).bound(diamond()) == recipe  # the nodes found are not written down


def test_an_exclusion_and_a_later_override_win_over_bf16() -> None:
    recipe = Recipe(overrides=(Override(op="Relu", keep="bf16"), Override(match="b", keep="fp32")), exclude=("c",))
    assert recipe.settings_for("a", "Relu").fp32_reason is None
    for name in ("b", "c"):
        settings = recipe.settings_for(name, "Relu")
        assert settings.fp32_reason
        assert settings.bf16_reason is None


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (("a", "dd"), "the model has no node 'dd'; did you mean 'd'?"),
        (("b", "c"), "no path leads from the first node to the second"),
        (("d", "a"), "no path leads from the first node to the second"),
    ],
)
def test_a_region_that_is_none(region: tuple[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        Recipe(overrides=(Override(region=region, keep="fp32"),)).bound(diamond())


@pytest.mark.parametrize("observer", sorted(OBSERVERS))
def test_settings_make_their_observer(observer: str) -> None:
    settings = Recipe(observer=observer, percentile=99).settings_for("x", "Conv2D")
    assert make_observer(settings.observer, **settings.observer_options).name == observer
    assert settings.observer_options == ({"percentile": 99} if observer == "percentile" else {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('observr = "kl"', r"unknown recipe key 'observr': expected bands, .*; did you mean 'observer'\?"),
        ("overrides = []", r"unknown recipe key 'overrides'.*did you mean 'override'\?"),
        ("zzz = 1", r"unknown recipe key 'zzz': expected bands, bias_correction, [a-z_, ]+$"),
        (
            'observer = "minmx"',
            r"'observer': expected one of minmax, .*received 'minmx'; did you mean 'minmax'\?",
        ),
        ("observer = 3", r"'observer': expected one of .*received 3$"),
        ('percentile = "99"', r"'percentile': expected a number above 50 and at most 100, received '99'"),
        ("percentile = 50", r"'percentile': .*received 50"),
        ("percentile = nan", r"'percentile': .*received nan"),
        ("percentile = true", r"'percentile': .*received True"),
        ("per_channel = 1", r"'per_channel': expected true or false, received 1"),
        ("weight_bits = 4", r"'weight_bits': expected 7 or 8, received 4"),
        ("weight_bits = 8.0", r"'weight_bits': expected 7 or 8, received 8.0"),
        ('exclude = "conv"', r"'exclude': expected a list of regular expressions, received 'conv'"),
        ("exclude = [1]", r"'exclude': .*the fault is in 1$"),
        ('exclude = ["ok", "(a"]', r"'exclude': .*the fault is in '\(a', which is not one: .*unterminated"),
        ('exclude = ["a{99999999999}"]', r"'exclude': .*which is not one: "),
        ('exclude_ops = [""]', r"'exclude_ops': expected a list of op types, received \(''"),
        ("offsets = 0", r"'offsets': expected true or false, received 0"),
        ("min_tensorflow = 2.16", r"'min_tensorflow': expected a release .*received 2.16"),
        ('min_tensorflow = "2.9"', r"'min_tensorflow': .*received '2.9'"),
        ('min_sqnr_db = "high"', r"'min_sqnr_db': expected a finite number, received 'high'"),
        ('fallback = "yes"', r"'fallback': expected true or false, received 'yes'"),
        ('rounding = "up"', r"'rounding': expected \"nearest\" or \"learned\", received 'up'"),
        ('[[override]]\nregion=["a"]\nkeep="fp32"', r"'region': expected the names of two nodes, received"),
        ("override = 3", r"'override': expected \[\[override\]\] tables, received 3"),
        (
            '[[override]]\nop="A"\nkeep="int8"',
            r"\[\[override\]\] number 1: .*'keep': expected \"fp32\" or \"bf16\", received 'int8'",
        ),
        ('[[override]]\nop="A"\nkep="fp32"', r"number 1: unknown recipe key 'kep'.*did you mean 'keep'\?"),
        ('[[override]]\nmatch="["\nkeep="fp32"', r"number 1: .*'match': expected a regular expression"),
        ('[[override]]\nkeep="fp32"', r"which nodes it is for: expected 'match', 'op' or 'region', received none"),
        ('[[override]]\nop="A"', r"must change something: expected 'observer'"),
        ('[[override]]\nop="A"\nkeep="fp32"\n[[override]]\nop=""\nkeep="fp32"', r"number 2: .*'op'"),
        ("observer = ", r"must be a TOML file, but this one cannot be parsed"),
    ],
)
def test_bad_recipes_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_toml(text)


def test_python_values_are_checked_too() -> None:
    bad: Any = Recipe
    with pytest.raises(RecipeError, match="'weight_bits': expected 7 or 8, received True"):
        bad(weight_bits=True)
    with pytest.raises(RecipeError, match=r"'observer': expected one of .* received None"):
        bad(observer=None)
    with pytest.raises(RecipeError, match="'overrides': expected a list of Override"):
        bad(overrides=({"op": "Conv2D"},))


def test_load_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    with pytest.raises(RecipeError, match=r"recipe\.toml cannot be read: No such file"):
        Recipe.load(path)
    path.write_text("observr = 1")
    with pytest.raises(RecipeError, match=r"recipe\.toml: unknown recipe key 'observr'"):
        Recipe.load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"recipe\.toml must be UTF-8"):
        Recipe.load(path)


def test_save_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("old")
    Recipe.from_toml(EXAMPLE).save(path)
    assert Recipe.load(path) == Recipe.from_toml(EXAMPLE)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("target", ["missing/recipe.toml", "file/recipe.toml", "folder"])
def test_save_that_fails_leaves_nothing_behind(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="the recipe cannot be written to"):
        Recipe().save(tmp_path / target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def compiles(pattern: str) -> bool:
    if "[" in pattern or "(?" in pattern:  # some of these are right, but Python warns of them
        return False
    try:
        Recipe(exclude=(pattern,))
    except RecipeError:
        return False
    return True


patterns = st.text(max_size=12).filter(compiles) | st.sampled_from(["^a/", r"\d+$", 'q"\\\\', "\x7f\t"])
names = st.text(min_size=1, max_size=12)
percentiles = st.floats(50, 100, exclude_min=True)
observers = st.sampled_from(sorted(OBSERVERS))


overrides = st.builds(
    Override,
    match=st.none() | patterns,
    op=names,
    observer=st.none() | observers,
    percentile=st.none() | percentiles,
    per_channel=st.booleans(),
    keep=st.sampled_from([None, "fp32"]),
)
recipes = st.builds(
    Recipe,
    observer=observers,
    percentile=percentiles | st.integers(51, 100),
    per_channel=st.booleans(),
    weight_bits=st.sampled_from([None, 7, 8]),
    exclude=st.lists(patterns, max_size=3).map(tuple),
    exclude_ops=st.lists(names, max_size=3).map(tuple),
    offsets=st.booleans(),
    min_tensorflow=st.integers(16, 30).map(lambda minor: f"2.{minor}"),
    min_sqnr_db=st.floats(allow_nan=False, allow_infinity=False),
    fallback=st.booleans(),
    overrides=st.lists(overrides, max_size=3).map(tuple),
)


@given(recipe=recipes)
def test_toml_round_trip(recipe: Recipe) -> None:
    assert Recipe.from_toml(recipe.to_toml()) == recipe
