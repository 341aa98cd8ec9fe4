"""The page as a browser has it: no network, no script, no overflow; and what it says."""

import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from energy_etl.errors import ConfigurationError
from energy_etl.report import render_report
from energy_etl.report.figures import Amount, Site
from energy_etl.report.page import Report
from energy_etl.report.section_portfolio import portfolio
from energy_etl.report.section_sites import SITES_DRAWN
from energy_etl_tests.report.world import HOSTILE, NOW, empty, frame, make

CHROMIUM = next((path for path in map(shutil.which, ("chromium", "chromium-browser")) if path), "")
in_browser = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed on this machine")
VIOLATIONS = """() => {window.violations = [];
  document.addEventListener('securitypolicyviolation',
    event => window.violations.push(event.blockedURI))}"""


@pytest.fixture(scope="module")
def html() -> str:
    """The report of two sites with names at their worst, licences and access."""
    frames = make([HOSTILE[0], HOSTILE[5]], n_submeters=1)
    # One site without a day: no chart of it, and drawing is what takes the time.
    frames["site_daily"] = frames["site_daily"].filter(pl.col("site_id") == "site-0")
    # One day hollow, one without data.
    hollow = pl.col("local_on").dt.day() == 9
    frames["site_daily"] = frames["site_daily"].with_columns(
        coverage_pct=pl.when(hollow).then(40.0).otherwise("coverage_pct"),
        consumption_kwh=pl.when(pl.col("local_on").dt.day() == 11)
        .then(None)
        .otherwise("consumption_kwh"),
    )
    frames["licence"] = frame(
        "licence",
        [
            {
                "licence_key_end": HOSTILE[1],
                "controller_name": HOSTILE[2],
                "licence_status": "ending",
                "ends_on": NOW.date(),
                "n_days_left": 3,
                "grid_kw": 10.0,
                "has_capacity": False,
            }
        ],
    )
    frames["access"] = frame(
        "access",
        [
            {
                "holder_kind": "user",
                "holder_name": HOSTILE[3],
                "way": "api_key",
                "api_key_name": HOSTILE[4],
                "role_name": HOSTILE[1],
                "organization_name": HOSTILE[5],
                "has_user_management": True,
            }
        ],
    )
    return render_report(frames, NOW).html


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    arguments += ["--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=arguments, ignore_default_args=["--headless"]
        )
        yield browser
        browser.close()


class Opened:
    """A page with the network off, and everything that it complained of or asked for."""

    def __init__(self, browser: Browser, path: Path) -> None:
        context = browser.new_context(viewport={"width": 1300, "height": 900})
        self.requests: list[str] = []
        self.told: list[str] = []
        self.page: Page = context.new_page()
        context.add_init_script(f"({VIOLATIONS})()")
        context.route("**/*", self._route)
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("dialog", lambda dialog: self.told.append(dialog.message))
        context.set_offline(True)
        self.page.goto(path.as_uri())

    def _route(self, route: Route) -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
            return
        self.requests.append(route.request.url)
        route.abort()


@in_browser
def test_page_needs_no_network_and_fits_wide_and_narrow_screens(
    html: str, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "energy.html"
    path.write_text(html, encoding="utf-8")
    opened = Opened(browser, path)
    page = opened.page
    for width in (1300, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("window.violations") == []
        assert opened.told == []
        assert opened.requests == []
        # The style was let in by its hash: without it the page would be serif on 16 px.
        assert page.evaluate("getComputedStyle(document.body).fontSize") == "15px"
        invisible = page.evaluate(
            """[...document.querySelectorAll('svg')].filter(svg => {
                const box = svg.getBoundingClientRect();
                return box.width < 40 || box.height < 10 || box.right > innerWidth + 0.5;
            }).map(svg => svg.getAttribute('aria-labelledby'))"""
        )
        assert invisible == []
        assert page.locator("svg").count() >= 6
        # A bar of the chart is painted in the palette's blue, by a variable.
        fills = page.evaluate(
            """[...document.querySelectorAll('.panel svg path')].map(
                path => getComputedStyle(path).fill)"""
        )
        assert "rgb(31, 95, 168)" in fills
        assert page.locator("script, iframe, object, img, form").count() == 0
    # Paper is no telephone: its tables stay tables, and nothing is cut off.
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 688, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    assert page.evaluate("getComputedStyle(document.querySelector('td')).display") == "table-cell"
    page.context.close()


def test_empty_report_says_in_each_section_what_to_do() -> None:
    header, main = render_report(empty(), NOW).html.split("<main>")
    assert "energy-etl demo" in header.split('class="missing"')[1]
    sections = main.split("<section")[1:]
    assert [each.count('class="missing"') for each in sections] == [1] * 7


class Structure(HTMLParser):
    """Ids, references to them, headers of tables, pictures with what they say."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.heads_without_scope = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.append(tag)
        self.ids += [told["id"] or ""] if "id" in told else []
        for key in ("aria-labelledby", "href"):
            if key == "href" and tag != "a":
                continue
            self.references += (told.get(key) or "").replace("#", "").split()
        self.heads_without_scope += tag == "th" and "scope" not in told
        assert "style" not in told
        assert not [key for key in told if key.startswith("on")]


def test_structure_can_be_read_out(html: str) -> None:
    read = Structure(html)
    assert len(read.ids) == len(set(read.ids))
    assert set(read.references) <= set(read.ids)
    assert read.heads_without_scope == 0
    n_pictures = read.tags.count("svg")
    assert html.count("<desc ") == html.count('role="img"') == n_pictures
    assert read.tags.count("caption") == read.tags.count("table")
    assert read.tags.count("h1") == 1


def test_policy_lets_in_nothing_but_the_style(html: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"].startswith("'sha256-")
    assert "unsafe" not in policy[1]
    assert not re.findall(r'(?:src|href)="(?!#|data:,")[^"]*"', html)


def test_unknown_is_never_zero(html: str) -> None:
    # The site without a day: dashes with reasons, in its row and its panel.
    row = re.search(r"<tr[^>]*>(?:(?!</tr>).)*site-1(?:(?!</tr>).)*</tr>", html)
    assert row is not None
    assert "no such meter" in row[0]
    assert not re.search(r">0(\.0)?\s?kWh", row[0])
    assert "No day has a figure." in html


def test_hollow_and_missing_days_are_told_in_words(html: str) -> None:
    assert "under 95 % measured</li>" in html
    assert "no data</li>" in html
    assert "25 Oct had 25 h (clock change)." in html


@pytest.fixture(scope="module")
def many() -> Report:
    """The report of thirty sites, more than are drawn, each register of them at fault."""
    # One chart, of the site that was measured best: the others have nothing to draw.
    frames = make([f"Site {place}" for place in range(30)], n_submeters=3, with_energy=False)
    frames["site_daily"] = make(["Site 0"])["site_daily"].with_columns(site_id=pl.lit("site-0"))
    days = pl.DataFrame({"local_on": [NOW.date() - timedelta(days=n) for n in range(1, 65)]})
    # Each day of each register at fault: nothing can be drawn as one shape.
    frames["daily"] = (
        frames["register"]
        .select("register_id", "site_id")
        .join(days, how="cross")
        .with_columns(
            hours=pl.lit(24.0), energy_kwh=pl.lit(None, pl.Float64), n_expected=96, n_measured=50
        )
    )
    # One needs a look: it comes last by its name.
    frames["coverage"] = frames["coverage"].with_columns(
        n_measured=pl.when(pl.col("site_id") == "site-9").then(300).otherwise("n_expected")
    )
    return render_report(frames, NOW)


def test_any_number_of_sites_makes_a_page_of_bounded_size(many: Report) -> None:
    assert many.numbers["sites"] == 30
    assert many.numbers["sites_drawn"] == SITES_DRAWN
    assert len(many.html) < 1_000_000
    assert 'id="days-' in many.html
    assert f"The {SITES_DRAWN} of 30 sites that need a look or used most; " in many.html
    assert "The 24 of 120 streams that need a look most; all of the others are ok." in many.html
    assert "The 40 of 120 registers with the worst coverage; the others have" in many.html


def test_many_sites_are_all_in_the_portfolio_those_that_need_a_look_first(many: Report) -> None:
    portfolio = many.html.split('id="portfolio"')[1].split("</section>")[0]
    assert "Of 30\u00a0sites 1 needs a look and stands first" in portfolio
    names = re.findall(r"<bdi>(Site \d+)</bdi>", portfolio)
    assert sorted(names) == sorted(f"Site {place}" for place in range(30))
    # What uses as much stands in the order of the ids: one site alone has figures.
    assert names[:3] == ["Site 9", "Site 0", "Site 1"]
    assert portfolio.index("The other 6") < portfolio.index(f"<bdi>{names[24]}</bdi>")
    assert names[24:] == sorted(names[24:])
    read = Structure(many.html)
    assert set(read.references) <= set(read.ids)


def test_site_of_another_commodity_links_to_its_charts_where_there_are_some() -> None:
    sites = [
        Site(
            each,
            each.title(),
            "Europe/Rome",
            "EUR",
            NOW.date(),
            {("gas", "last-week"): Amount(None, None, 3.0, 2.0, 50.0, 100.0, "", "")},
        )
        for each in ("mill", "barn")
    ]
    others = str(portfolio(sites, NOW, {"mill": "charts-7"})).split("Heat, gas and water")[1]
    assert '<a href="#charts-7"><bdi>Mill</bdi></a>' in others
    assert "<bdi>Barn</bdi>" in others
    assert others.count("<a ") == 1


@in_browser
def test_link_in_the_portfolio_opens_the_charts_of_a_folded_site(
    many: Report, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "many.html"
    path.write_text(many.html, encoding="utf-8")
    page = Opened(browser, path).page
    page.set_viewport_size({"width": 400, "height": 900})
    charts = page.locator("#charts-20")
    assert not charts.is_visible()
    page.locator('a[href="#charts-20"]').click()
    assert charts.is_visible()
    # What is folded may be no wider than the screen, either.
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.context.close()


def test_site_of_which_nothing_was_measured_needs_attention() -> None:
    frames = make(["Mill", "Harbour"], with_energy=False)
    never = pl.when(pl.col("site_id") == "site-1").then(None)
    frames["coverage"] = frames["coverage"].with_columns(
        n_measured=never.otherwise("n_measured"), last_read_at=never.otherwise("last_read_at")
    )
    attention = render_report(frames, NOW).html.split("Needs attention")[1].split("<nav")[0]
    assert "<bdi>Harbour</bdi>: only 0.0\u00a0% measured" in attention
    assert "Mill" not in attention


def test_streams_that_have_not_begun_are_not_counted_as_ok() -> None:
    frames = make(["Mill"], n_submeters=1, with_energy=False)
    is_new = pl.col("register_id") == "site-0.mains"
    frames["stream"] = frames["stream"].with_columns(
        n_sent=pl.when(is_new).then(None).otherwise("n_sent")
    )
    html = render_report(frames, NOW).html
    assert '<p class="figure">1 of 2 ok</p><p class="note">1 not begun</p>' in html


def test_one_site_has_its_own_figures_only() -> None:
    frames = make(["Mill", "Harbour"], with_energy=False)
    html = render_report(frames, NOW, site_id="site-1").html
    assert "Energy report: Harbour" in html
    assert "Harbour" in html
    assert "Mill" not in html
    assert "dp-site-1.mains" in html


def test_page_of_one_site_tells_nothing_of_others_with_the_same_beginning() -> None:
    frames = make([f"Site {place}" for place in range(11)], n_submeters=0, with_energy=False)
    licence = {"kind": "licence_ending", "from_at": NOW, "message": "It ends.", "next_step": "-"}
    frames["finding"] = pl.concat(
        [
            frames["finding"],
            frame(
                "finding",
                [{**licence, "place": f"smartgridone: licence {n} at site-{n}"} for n in (1, 10)],
            ),
        ]
    )
    frames["access"] = frame("access", [{"holder_kind": "user", "holder_name": "Ada", "way": "-"}])
    html = render_report(frames, NOW, site_id="site-1").html
    assert "licence 1 at site-1<" in html
    assert "site-10" not in html
    # Nor who gets in at the vendor.
    assert "Ada" not in html
    assert "Ada" in render_report(frames, NOW).html


def test_unknown_site_is_refused_with_the_closest() -> None:
    with pytest.raises(ConfigurationError, match=r"no site site-7.*did you mean site-"):
        render_report(make(["Mill", "Harbour"], with_energy=False), NOW, site_id="site-7")


def test_old_figures_are_announced_at_the_top() -> None:
    frames = make(["Mill"], with_energy=False)
    later = NOW.replace(month=12)
    assert "These figures are 30\u00a0days old." in render_report(frames, later).html
    assert "These figures are" not in render_report(frames, NOW).html


def test_old_computation_is_announced_although_deliveries_are_still_published() -> None:
    frames = make(["Mill"], with_energy=False)
    frames["coverage"] = frames["coverage"].with_columns(computed_on=NOW.date() - timedelta(days=2))
    assert "These figures were computed on 19 Nov 2026." in render_report(frames, NOW).html
