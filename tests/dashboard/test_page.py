"""The page in a real browser."""

from dataclasses import replace
from typing import Any

import pytest

from dashboard.source import Snapshot
from inspection.part import Label
from inspection.verdict import Outcome

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
    assert "camera top connected" in text
    assert "camera lost: /dev/video9: no such device" in text
    assert "of 105 labelled ng, 2 passed (escapes)" in text
    assert "of 1\u202f190 labelled ok, 8 rejected (overkill)" in text


async def test_a_defective_part_that_was_passed_does_not_look_like_a_good_one(
    port: int, browser: Any, source: Any
) -> None:
    await browser.open(f"http://127.0.0.1:{port}/", 1280, 800)
    await browser.until(SHOWN)
    for outcome, label, word, note in [
        (Outcome.PASS, Label.NG, "WRONG PASS", "labelled ng, but passed (escape)"),
        (Outcome.FAIL, Label.OK, "FAIL", "labelled ok, but rejected (overkill)"),
        (Outcome.PASS, Label.OK, "PASS", "labelled ok"),
        (Outcome.PASS, None, "PASS", ""),
    ]:
        source.now = with_part(source.now, outcome=outcome, label=label, part=f"{outcome}-{label}")
        await browser.until(f"document.body.innerText.includes('{outcome}-{label}')")
        banner = "document.querySelector('.verdict')"
        assert await browser.value(f"{banner}.querySelector('strong').textContent") == word
        assert note in await browser.value(TEXT)
        green = await browser.value(f"getComputedStyle({banner}).backgroundColor === 'rgb(20, 113, 59)'")
        assert green is (outcome is Outcome.PASS and label is not Label.NG)


async def test_the_header_is_not_all_green_while_a_station_is_not_ready(port: int, browser: Any, source: Any) -> None:
    await browser.open(f"http://127.0.0.1:{port}/", 1280, 800)
    await browser.until(SHOWN)
    link = "document.getElementById('link')"
    await browser.until(f"{link}.textContent === 'LIVE \u00b7 1 OF 2 STATIONS NOT READY'")
    assert await browser.value(f"{link}.className") == "tag bad"

    source.now = replace(source.now, stations=source.now.stations[:1])
    await browser.until(f"{link}.textContent === 'LIVE'")
    assert await browser.value(f"{link}.className") == "tag good"

    away = replace(source.now.stations[0], broker_up=False)
    source.now = replace(source.now, stations=(away,))
    await browser.until(f"{link}.textContent === 'LIVE \u00b7 STATION NOT READY'")


async def test_on_a_phone_the_verdict_comes_before_the_status_cards(port: int, browser: Any) -> None:
    top = "document.querySelector('{}').getBoundingClientRect().top"
    for width, verdict_first in ((390, True), (1280, False)):
        await browser.open(f"http://127.0.0.1:{port}/", width, 844)
        await browser.until(SHOWN)
        order = f"{top.format('.verdict')} < {top.format('#plant')}"
        assert await browser.value(order) is verdict_first
        assert await browser.value(f"{top.format('footer')} > {top.format('#plant')}")


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
