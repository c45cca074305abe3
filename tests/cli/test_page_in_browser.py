"""The page in a headless Chromium: what is drawn, and that nothing is asked of the network."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_explanation import explained, searched

from eightfold.cli.page import page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed; on Debian: apt-get install chromium")

ALONE = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
COUNT = "<script>document.body.dataset.loaded = performance.getEntriesByType('resource').length</script>"
WIDTH, HEIGHT = 1400, 1800


@dataclass(frozen=True)
class Seen:
    """What the browser made of a page: its elements, its console, and a picture of it."""

    dom: str
    console: list[str]
    picture: Image.Image

    def count(self, pattern: str) -> int:
        return len(re.findall(pattern, self.dom))

    def colours(self, box: tuple[int, int, int, int]) -> set[tuple[int, ...]]:
        found = self.picture.crop(box).getcolors(maxcolors=1 << 20)
        return {colour for _, colour in found or ()}  # type: ignore[misc]


def look(text: str, folder: Path, *more: str) -> Seen:
    """Opens a page and lets its scripts run."""
    file, picture = folder / "page.html", folder / "page.png"
    file.write_text(text.replace("</body>", f"{COUNT}</body>"))
    options = (
        *ALONE,
        *more,
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={WIDTH},{HEIGHT}",
        "--virtual-time-budget=5000",
        "--enable-logging=stderr",
        f"--screenshot={picture}",
        "--dump-dom",
    )
    run = subprocess.run(
        [str(BROWSER), *options, file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    console = [line for line in run.stderr.splitlines() if ":CONSOLE" in line]
    return Seen(run.stdout, console, Image.open(picture).convert("RGB"))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    whole = replace(explained(), search=searched())
    return look(page(whole), tmp_path_factory.mktemp("browser"))


def test_the_scripts_ran_to_their_end_without_a_word(seen: Seen) -> None:
    assert seen.console == []
    assert 'data-ready="yes"' in seen.dom


def test_nothing_is_asked_of_the_network(seen: Seen) -> None:
    assert 'data-loaded="0"' in seen.dom  # and what the content policy refused would be on the console


def test_every_node_and_edge_of_the_graph_is_drawn(seen: Seen) -> None:
    assert seen.count('<g class="node ') == 4
    assert seen.count('<path class="edge real"') == 3
    assert seen.count('<g class="node fp32 break"') == 1
    assert seen.count('<g class="node int8 chosen"') == 1
    places = re.findall(r'<g class="node[^>]*transform="translate\(([-\d.]+),([-\d.]+)\)"', seen.dom)
    heights = [float(y) for _, y in places]
    assert heights == sorted(set(heights))  # what reads stands below what is read


def test_the_plots_are_drawn(seen: Seen) -> None:
    panel = seen.dom.partition('id="chosen"')[2].partition("</aside>")[0]
    assert panel.count("<svg") == 4  # input, result, weight, channels
    assert panel.count("<rect") >= 3 * 64
    assert panel.count("<circle") == 3  # channels
    for section in ("losses", "weights", "search"):
        assert f'<section id="{section}">' in seen.dom  # not hidden any more
        assert "<svg" in seen.dom.partition(f'id="{section}"')[2].partition("</section>")[0]


def test_the_picture_is_not_blank(seen: Seen) -> None:
    assert seen.picture.size == (WIDTH, HEIGHT)
    assert {(0x2A, 0x78, 0xD6), (0xE4, 0xEF, 0xFC), (0xD2, 0x54, 0x1B)} <= seen.colours((0, 300, 1000, 1100))
    assert len(seen.colours((1000, 300, WIDTH, 1100))) > 30


def test_a_dark_scheme_is_dark(tmp_path: Path) -> None:
    dark = look(page(explained()), tmp_path, "--blink-settings=preferredColorScheme=0")
    assert dark.console == []
    assert dark.picture.getpixel((5, 5)) == (0x12, 0x15, 0x1C)
    assert (0x5A, 0xA2, 0xF2) in dark.colours((0, 300, 1000, 1100))


@pytest.mark.int8
def test_the_page_of_a_quantized_model(run: Callable[..., Any], int8_model: tuple[Path, Any], tmp_path: Path) -> None:
    file = tmp_path / "own.html"
    assert run("explain", int8_model[0], "--html", file, "--quiet").exit_code == 0
    seen = look(file.read_text(), tmp_path)
    assert seen.console == []
    assert seen.count('<g class="node int8') == 4
    assert seen.count('<g class="node fp32 break"') == 1
    assert seen.dom.partition('id="chosen"')[2].partition("</aside>")[0].count("<svg") == 4
