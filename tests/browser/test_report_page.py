"""
The report of audits, in a browser: what it shows is what the records say, and every part follows the filters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from report_scenes import Planted, flapping, overlap, simulated

from leadership.audit import Line, read, verify
from leadership.audit.report import render

Opener = Callable[..., Page]
ELECTIONS = ("jobs", "mail", "nightly report")


def written(folder: Path, paths: list[Path]) -> Path:
    path = folder / "report.html"
    path.write_text(render(verify(paths), read(paths), title="A night"), encoding="utf-8")
    return path


def records(paths: list[Path]) -> list[Line]:
    return [line for line in read(paths) if line.fields["kind"] == "transition"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """
    The report of three elections.
    """
    folder = tmp_path_factory.mktemp("three")
    paths = flapping(folder / "audits", 600, ELECTIONS)
    return written(folder, paths), paths


@pytest.fixture(scope="module")
def two_led(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """
    The report of an election in which two led at once.
    """
    folder = tmp_path_factory.mktemp("overlap")
    paths = overlap(folder)
    return written(folder, paths), paths


def rows(page: Page, table: str) -> list[list[str]]:
    """
    The cells of a table's page.
    """
    found: list[list[str]] = page.locator(f"#{table} tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def step_through(page: Page, node: str) -> list[tuple[str, str]]:
    """
    What the lane of a node says of its states, one after the other, by the keyboard alone.
    """
    page.get_by_role("button", name=f"{node}, election").focus()
    said: list[str] = []
    page.keyboard.press("ArrowLeft")
    while not said or said[-1] != page.locator("#detail").inner_text():
        said.append(page.locator("#detail").inner_text())
        page.keyboard.press("ArrowRight")
    states = [re.match(rf"{node}: ([\w ]+)(?:, token \d+)?; from ([\d: .-]+?)(?: to|;)", text) for text in said]
    assert all(states), said
    return [(match[1], match[2]) for match in states if match]


def test_lanes_are_the_records(two_led: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    Stepped through by keyboard, each lane names each state of its node with the time of the record.
    """
    path, paths = two_led
    page = visit(path)
    for node in ("ann", "bob", "cyd"):
        expected = [
            (line.fields["dest"], re.sub(r"\+.*", "", line.fields["at"].replace("T", " ")))
            for line in records(paths)
            if line.fields["node"] == node
        ]
        shown = [(state, at.removesuffix(".000000")) for state, at in step_through(page, node)]
        assert [(state, at.rstrip("0") if "." in at else at) for state, at in shown] == [
            (state, at.rstrip("0") if "." in at else at) for state, at in expected
        ]


def test_lanes_are_drawn_where_the_records_say(two_led: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    The pixels of a lane: the leader's colour within the term, the band of two leaders across all lanes within theirs.
    """
    page = visit(two_led[0])
    pixel = """([second, lane]) => {
        const canvas = document.querySelector("#lanes canvas"), width = canvas.clientWidth - 150;
        const x = 150 + width * second * 1e6 / whole.to, y = 22 + 26 * lane + 13;
        return [...canvas.getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3).join();
    }"""
    leader = page.evaluate("""() => { const [r, g, b] = color("--s-leader").match(/\\w\\w/g).map(x => parseInt(x, 16));
        return `${r},${g},${b}`; }""")
    led = [page.evaluate(pixel, [second, 1]) == leader for second in (0.5, 5.0, 11.5, 20.0)]
    assert [False, True, False, False] == led, "ann led from 1 to 10.5 s"
    overlapped = {page.evaluate(pixel, [9.7, lane]) for lane in range(4)}
    assert page.evaluate(pixel, [5.0, 3]) not in overlapped, "the band crosses cyd's lane too, who led neither"


def test_vacancies_are_drawn_where_nobody_led(two_led: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    Who led, from the first record to the last: nobody, ann, bob though ann still did, nobody, cyd, nobody.
    """
    page = visit(two_led[0])
    pieces = page.evaluate("officeOf[0].office.map(each => [each.kind, each.from / 1e6, each.to / 1e6])")
    assert [
        ["vacant", 0.0, 1.0],
        ["led", 1.0, 10.5],
        ["led", 9.0, 20.0],
        ["vacant", 20.0, 22.0],
        ["led", 22.0, 30.0],
        ["vacant", 30.0, 30.2],
    ] == pieces
    counted = {row[0]: row[1:] for row in rows(page, "vacancies")}
    assert ["1", "2.00 s", "2.00 s", "2.00 s", "2.00 s"] == counted["all vacancies"] == counted["hand-overs"]
    assert "0" == counted["failovers"][0]


def test_overlap_comes_first(two_led: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    The verdict and its evidence lead the page, with the lines that prove it; from there to the place is one click.
    """
    path, paths = two_led
    page = visit(path)
    verdict = page.get_by_role("region", name="Verdict: invalid")
    finding = verdict.get_by_role("listitem").first
    expect(finding).to_contain_text("two leaders of 'jobs' for 1.500 s")
    expect(finding).to_contain_text(f"{paths[0]}:5")
    finding.get_by_role("button", name="Show in the timeline").click()
    expect(page.locator("#selection")).to_contain_text("transitions, 2 terms")
    assert "from=2026-01-02T03%3A04%3A12.875" in page.url
    assert "timeline" == page.evaluate("document.activeElement.id")


def test_filter_by_election_acts_on_every_part(three: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    One election chosen: its lanes, terms, causes and edges alone, counted as in the records; the address says so.
    """
    path, paths = three
    page = visit(path)
    mine = [line.fields for line in records(paths) if line.fields["election"] == "jobs"]
    expect(page.locator("#selection")).to_contain_text("All 3 elections, the whole time, ")
    page.get_by_role("combobox", name="Election").select_option("jobs")
    expect(page.locator("#selection")).to_contain_text(f": {len(mine)} transitions, ")
    assert page.url.endswith("#election=jobs")
    assert ["Election jobs"] == page.locator("#lanes h3").all_inner_texts()
    assert {"jobs"} == {row[1] for row in rows(page, "terms")}
    causes = Counter(fields["cause"] for fields in mine if fields["source"] == "leader")
    assert causes == {cause: int(count) for cause, count, _ in rows(page, "causes")}
    page.get_by_text("The edges in words").click()
    edges = {(move, reasons): int(count) for move, reasons, _, count in rows(page, "edges")}
    elected = sum(fields["dest"] == "leader" for fields in mine)
    assert elected == edges["campaigning → leader", "acquired [lease_valid]"]
    expect(page.locator("#machine .edge.success .count")).to_have_text(f"×{elected}")
    assert elected == int(page.locator("#terms .pages").inner_text().split()[-1])


def test_filter_by_time_acts_on_every_part(three: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    A range typed in is a range of all parts, is written into the address, and is found again from there.
    """
    path, paths = three
    page = visit(path)
    page.get_by_label("From (UTC)").fill("2026-01-02 03:05:00")
    page.get_by_label("To (UTC)").fill("2026-01-02 03:07:30.5")
    page.keyboard.press("Tab")
    low, high = "2026-01-02T03:05:00", "2026-01-02T03:07:30.5"
    inside = [line.fields for line in records(paths) if low <= line.fields["at"].partition("+")[0] <= high]
    expect(page.locator("#selection")).to_contain_text(f": {len(inside)} transitions, ")
    terms = page.evaluate("chosenTerms(selection).map(term => term.token)")
    again = visit(path, address=page.url.partition(".html")[2])
    assert page.locator("#selection").inner_text() == again.locator("#selection").inner_text()
    assert terms == again.evaluate("chosenTerms(selection).map(term => term.token)")
    started = [fields for fields in inside if fields["dest"] == "leader"]
    assert ["terms begun", str(len(started))] == rows(again, "flaps")[0]
    again.get_by_role("button", name="All", exact=True).click()
    expect(again.locator("#selection")).to_contain_text("the whole time")
    assert again.url.endswith("report.html")


def test_time_that_is_none_is_refused(three: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    What is no time changes nothing, and the field says how a time is written.
    """
    page = visit(three[0])
    before = page.locator("#selection").inner_text()
    page.get_by_label("From (UTC)").fill("yesterday")
    page.keyboard.press("Tab")
    expect(page.locator("#range-help")).to_contain_text("A time is written like 2026-01-31")
    expect(page.get_by_label("From (UTC)")).to_have_attribute("aria-invalid", "true")
    assert before == page.locator("#selection").inner_text()


def test_pointer_zooms_moves_and_tells(three: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    Dragging in the strip chooses a range, dragging the lanes moves it, Ctrl and the wheel zoom, and a lane tells.
    """
    page = visit(three[0])

    def length() -> float:
        return float(page.evaluate("selection.to - selection.from"))

    def until_length(wanted: float) -> None:  # a busy page hears of the pointer a moment later
        page.wait_for_function("w => Math.abs(selection.to - selection.from - w) <= 0.02 * w", arg=wanted)

    page.locator("#strip").scroll_into_view_if_needed()  # how far down it is, the findings above it decide
    strip = page.locator("#strip").bounding_box()
    assert strip is not None
    whole = length()
    page.mouse.move(strip["x"] + strip["width"] * 0.25, strip["y"] + 20)
    page.mouse.down()
    page.mouse.move(strip["x"] + strip["width"] * 0.75, strip["y"] + 20, steps=5)
    page.mouse.up()
    until_length(whole / 2)
    canvas = page.locator("#lanes canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    began = page.evaluate("selection.from")
    middle = (box["x"] + box["width"] / 2, box["y"] + 22 + 26 + 13)
    page.mouse.move(*middle)
    expect(page.locator("#tip")).to_contain_text("ann-1: ")
    page.mouse.down()
    page.mouse.move(middle[0] + 100, middle[1], steps=4)
    page.mouse.up()
    page.wait_for_function("began => selection.from < began", arg=began)
    until_length(whole / 2)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    expect(page.locator("#selection")).to_contain_text("transitions")
    page.wait_for_function("([length]) => selection.to - selection.from < length * 0.9", arg=[length() / 0.8])


def test_keys_reach_everything(two_led: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    With the keyboard alone: every control has the focus in turn, visibly; the range is moved and zoomed by keys.
    """
    page = visit(two_led[0])
    names: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => {
            const e = document.activeElement;
            if (e === document.body) return ["", ""];
            return [e.id || e.dataset.lane || e.dataset.range || e.textContent, getComputedStyle(e).outlineStyle];
        }"""
        )
        if name == "":  # behind the last one
            break
        assert "solid" == outline, name
        names.append(str(name))
    assert {"Skip to the timeline", "theme", "election", "from", "to", "in", "0", "1", "2", "short"} <= set(names)
    page.get_by_role("button", name="ann, election").focus()
    page.keyboard.press("+")
    page.wait_for_function("() => selection.to - selection.from < whole.to * 0.6")
    page.keyboard.press("0")
    page.wait_for_function("() => selection.to === whole.to && selection.from === whole.from")


def test_dark_and_light(two_led: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    The page follows the system, the button says otherwise, and what is printed is light.
    """
    page = visit(two_led[0], color_scheme="dark")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    assert "rgb(13, 17, 23)" == page.evaluate(paper)
    page.get_by_role("button", name="Theme: as the system").click()
    assert "rgb(255, 255, 255)" == page.evaluate(paper)
    page.get_by_role("button", name="Theme: light").click()
    assert "rgb(13, 17, 23)" == page.evaluate(paper)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert "rgb(255, 255, 255)" == page.evaluate(paper)
    assert not page.locator("#filters").is_visible()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_width_is_too_small(three: tuple[Path, list[Path]], visit: Opener, width: int) -> None:
    """
    The page never scrolls sideways; what is wider than a phone, a table say, scrolls within itself.
    """
    page = visit(three[0], width=width)
    assert width >= page.evaluate("document.documentElement.scrollWidth")
    page.get_by_role("combobox", name="Election").select_option("jobs")
    assert width >= page.evaluate("document.documentElement.scrollWidth")


def test_names_that_would_be_code_are_text(tmp_path: Path, visit: Opener) -> None:
    """
    Markup in the names of nodes and elections, in reasons and errors is shown as it is, wherever it is shown.
    """
    evil = "<!--<script></script </script><script>document.title='x'</script><img src=x onerror=\"document.title='x'\">"
    scene = Planted(tmp_path, evil)
    scene.move(evil, 0.0, "stood")
    scene.move(evil, 1.0, "elected", 1)
    scene.move(evil, 10.0, "resigned", 1, reason=evil, error=evil)
    page = visit(written(tmp_path, scene.write()))
    page.get_by_role("combobox", name="Election").select_option(evil)
    page.locator("[data-lane]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#detail")).to_contain_text(f"reason: {evil}; error: {evil}")
    assert [evil] == page.locator("[data-lane]").all_inner_texts()
    assert [evil, evil] == [rows(page, "terms")[0][1], rows(page, "terms")[0][7]]
    assert 0 == page.locator("img").count()
    assert "A night: valid" == page.title()
    assert evil in page.evaluate("new URLSearchParams(location.hash.slice(1)).get('election')")


def test_tables_sort_and_turn(three: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    A click on a title sorts, another one turns the order, and pages are turned by buttons.
    """
    page = visit(three[0])
    lengths = "() => $('terms').rows.map(term => term.ended - term.began)"
    longest = max(page.evaluate(lengths))
    page.locator("#terms").get_by_role("button", name="Length").click()
    page.locator("#terms").get_by_role("button", name="Length").click()
    assert page.evaluate("([micros]) => lasting(micros)", [longest]) == rows(page, "terms")[0][5]
    first = rows(page, "terms")[0]
    page.locator("#terms").get_by_role("button", name="Next").click()
    assert first not in rows(page, "terms")
    expect(page.locator("#terms .pages")).to_contain_text("26–50 of ")


def test_what_a_stalled_leader_believed(tmp_path: Path, visit: Opener) -> None:
    """
    Of the production engine in virtual time: a term that ended by its deadline while its node stood still ends there.
    """
    with ThreadPoolExecutor(1) as thread:  # in this one Playwright's event loop runs
        paths = thread.submit(simulated, tmp_path).result()
    page = visit(written(tmp_path, paths))
    stalled = next(line.fields["node"] for line in records(paths) if line.fields["token"] == 2)
    states = [state for state, _ in step_through(page, stalled)]
    assert ["campaigning", "leader", "past its deadline", "error"] == states[:4]
    assert ["1", "2", "3", "4"] == [row[0] for row in rows(page, "terms")]
    expect(page.locator("#missing")).to_contain_text("1 term whose end is in no audit")


def test_reader_hears_landmarks_and_names(two_led: tuple[Path, list[Path]], visit: Opener) -> None:
    """
    Headings, regions and names for who cannot see: each table, button and picture has one.
    """
    page = visit(two_led[0])
    nameless = page.evaluate("""() => {
        const things = document.querySelectorAll("button, input, select, [role=img], [role=region], table");
        const named = e => e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length;
        return [...things].filter(e => !named(e) && !e.textContent.trim()).map(e => e.outerHTML.slice(0, 80));
    }""")
    assert [] == nameless
    assert 1 == page.get_by_role("main").count() == page.get_by_role("banner").count()
    assert 8 == page.get_by_role("heading", level=2).count()
    label = page.get_by_role("button", name="ann, election jobs").get_attribute("aria-label")
    assert "ann, election jobs: 1 term, led for 9.50 s. Left and right step through its states" == label


@pytest.mark.timeout(120)
def test_hundred_thousand_transitions_are_drawn(tmp_path: Path, visit: Opener) -> None:
    """
    The report of 100,000 transitions opens, and has all of them; how fast is told by `make bench`.
    """
    page = visit(written(tmp_path, flapping(tmp_path, 100_000)))
    assert 100_000 <= int(page.evaluate("$('selection').dataset.transitions"))
