"""The page in a real browser."""

from dataclasses import replace
from typing import Any

import pytest

from dashboard.source import Snapshot

SHOWN = "document.querySelectorAll('.verdict strong').length === 3"
TEXT = "document.body.innerText"


def with_part(now: Snapshot, **changes: Any) -> Snapshot:
    first = now.stations[0]
    camera = first.cameras[0]
    assert camera.last is not None
    camera = replace(camera, last=replace(camera.last, **changes))
    return replace(now, stations=(replace(first, cameras=(camera,)), *now.stations[1:]))


async def test_the_page_shows_each_verdict_in_words_with_its_picture_and_numbers(port: int, browser: Any) -> None:
    await browser.open(f"http://127.0.0.1:{port}/", 1280, 800)
    await browser.until(SHOWN)
    await browser.until("document.images[1].naturalWidth === 640")
    text = await browser.value(TEXT)
    for words in ["LIVE", "demo / line1", "FAIL", "PASS", "NO VERDICT", "P(defect) 0.973", "camera stalled"]:
        assert words in text
    for words in ["raceway-live", "BROKER AWAY", "right DOWN", "openvino-bf16", "3 waiting", "of 250 ms"]:
        assert words in text
    assert "1\u202f300 captured = 1\u202f299 verdicts + 1 open" in text
    assert "UNACCOUNTED" not in text


async def test_what_changes_is_shown_without_a_reload(port: int, browser: Any, source: Any) -> None:
    await browser.open(f"http://localhost:{port}/", 1280, 800)
    await browser.until(SHOWN)
    source.now = with_part(source.now, part="part-002000", score=0.5)
    await browser.until("document.body.innerText.includes('part-002000')")
    first = replace(source.now.stations[0], captured=1302)
    source.now = replace(source.now, stations=(first,))
    await browser.until("document.body.innerText.includes('2 UNACCOUNTED')")
    assert "raceway-live" not in await browser.value(TEXT)


async def test_text_from_the_line_is_never_markup(port: int, browser: Any, source: Any) -> None:
    hostile = "<img src=x onerror=document.title='owned'>"
    source.now = with_part(source.now, part=hostile, source="</script><script>document.title='owned'</script>")
    await browser.open(f"http://127.0.0.1:{port}/", 1280, 800)
    await browser.until(SHOWN)
    assert hostile in await browser.value(TEXT)
    assert "owned" not in await browser.value("document.title")
    assert await browser.value("document.querySelectorAll('img').length") == 4


async def test_old_numbers_are_called_old_when_the_daemon_is_gone(page: Any, browser: Any) -> None:
    async with page() as port:
        await browser.open(f"http://127.0.0.1:{port}/", 1280, 800)
        await browser.until(SHOWN)
    await browser.until("document.body.innerText.includes('No news from linegate')")
    assert "NO CONNECTION" in await browser.value(TEXT)


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (360, 740)])
async def test_nothing_runs_off_the_side_of_a_screen(
    port: int, browser: Any, source: Any, width: int, height: int
) -> None:
    source.now = with_part(source.now, part="W" * 32, source="a/" * 90 + "picture.png")
    await browser.open(f"http://127.0.0.1:{port}/", width, height)
    await browser.until(SHOWN)
    assert await browser.value("document.documentElement.scrollWidth") <= width
