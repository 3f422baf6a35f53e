"""The report's page, opened in a real browser."""

import base64
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.commands.report import main
from nb_evaluation.page import POLICY
from nb_evaluation.report.appearance import SCRIPT
from nb_evaluation.runs.folder import write_job

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no browser is here: `make browser` installs one")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--dump-dom",
)  # fmt: skip
SECONDS = 60
NUMBER = re.compile(r"[-+]?\d[\d,.]*")

PROBE = """addEventListener("load", () => {
  const all = (query) => [...document.querySelectorAll(query)];
  const open = () => all("details[open]").length, opened = all("details[open]").map((each) => each.id);
  const click = (thing) => { thing.click(); return open(); };
  const [fold] = all("section details[id]"), summary = fold.querySelector("summary");
  const clicks = [open(), click(summary), click(summary)];
  const printed = ["beforeprint", "afterprint"].map((name) => { dispatchEvent(new Event(name)); return open(); });
  const colour = (query) => getComputedStyle(document.querySelector(query));
  const column = (table, i) => [...table.tBodies[0].rows].map((row) => row.cells[i].textContent);
  const sorted = (table, i) => [0, 1, 2].map(() => {
    const head = table.tHead.rows[0].cells[i];
    head.querySelector("button").click();
    return [head.getAttribute("aria-sort"), column(table, i)];
  });
  const found = {
    opened, clicks, printed, folds: all("details").length,
    colours: [colour("body").backgroundColor, colour("body").color, colour("img").backgroundColor],
    sorted: all("table").map((table) => [column(table, 1), ...sorted(table, 1)]),
    named: all("table").map((table) => [column(table, 0), ...sorted(table, 0)]),
    verdicts: all(".verdicts li").map((item) => [item.className, item.querySelector(".tone").textContent]),
    anchors: all(".anchor").map((link) => [link.getAttribute("href"), link.closest("details").id]),
    images: all("img").map((image) => [image.complete, image.naturalWidth, image.naturalHeight, image.alt]),
    tables: all("table").map((table) => [
      table.caption?.textContent, table.querySelectorAll("thead th[scope=col]").length,
      table.querySelectorAll("tbody th[scope=row]").length, table.querySelectorAll("tbody tr").length]),
    headings: all("h1, h2, h3").map((heading) => Number(heading.tagName[1])),
    dangling: all("a[href^='#']").filter((link) => !document.querySelector(link.hash)).map((link) => link.href),
    links: all("nav a").length,
    captions: all("figcaption").map((caption) => caption.textContent),
    fetched: performance.getEntriesByType("resource").map((entry) => entry.name),
    wider: document.documentElement.scrollWidth > innerWidth,
  };
  const answer = document.createElement("script");
  answer.type = "application/json"; answer.id = "found"; answer.textContent = JSON.stringify(found);
  document.body.append(answer);
});"""
NARROW = """addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  page.querySelectorAll("details").forEach((each) => { each.open = true; });
  document.body.dataset.width = page.documentElement.scrollWidth;
});"""
COMMAND = "python -m benchmarks transfer --seeds 5"
COMMANDS = {"transfer": COMMAND} | {
    name: f"python -m benchmarks.{name} --seeds 5" for name in ("ablation", "few_shot", "sequence")
}
BUDGETS = {
    "transfer": "4 + 4 episodes of 1,000 physics steps",
    "ablation": "2 + 4 episodes of 1,000 physics steps",
    "few_shot": "2 + 4 episodes of 1,000 physics steps, one episode at a time on the target",
    "sequence": "2 + 4 × 2 episodes of 1,000 physics steps",
}
FIGURES = {"transfer": 10, "ablation": 1, "few_shot": 2, "sequence": 2}
TABLES = {"transfer": 7, "ablation": 1, "few_shot": 4, "sequence": 4}


@pytest.fixture(scope="module")
def job_folder(made_up_run, made_up_sequence, tmp_path_factory):
    """Five seeds of a few methods for each question, in a folder of jobs."""
    results = tmp_path_factory.mktemp("results")
    folder = results / "transfer-quick"
    folder.mkdir()
    for method in ("nb", "nb-k", "fine-tune", "maml"):
        for seed in range(100, 105):
            options = {"transfer_episodes": 4, "pretrain_episodes": 4}
            made_up_run(method=method, seed=seed, final=-5.0 - seed % 7, **options).write(folder)
    few_shot = {"transfer_envs": 1, "eval_every": 1, "detail": False}
    jobs = {
        "ablation": [
            made_up_run(method=method, seed=seed, final=-5.0 - seed % 7, detail=False)
            for method in ("nb-pro", "nb", "nb-pro-clamped")
            for seed in range(100, 105)
        ],
        "few_shot": [
            made_up_run(method=method, seed=seed, final=-5.0 - seed % 7, target=target, **few_shot)
            for method in ("nb-k", "fine-tune", "maml")
            for target in ({"A": 1.8}, {"A": 1.0, "torque_gain": -1.0})
            for seed in range(100, 105)
        ],
        "sequence": [
            made_up_sequence(method=method, seed=seed, value=-5.0 - seed % 7)
            for method in ("nb-k", "fine-tune", "fine-tune-kept", "maml")
            for seed in range(100, 105)
        ],
    }
    for name, runs in jobs.items():
        (results / name).mkdir()
        for run in runs:
            run.write(results / name)
        write_job(results / name, name, COMMANDS[name])
    write_job(folder, "transfer", COMMAND)
    (results / "notes").mkdir()
    return results


@pytest.fixture(scope="module")
def page(job_folder):
    assert main([str(job_folder)]) == 0
    return job_folder / "index.html"


class Handler(SimpleHTTPRequestHandler):
    """Hands out files, and tells its server which."""

    def log_request(self, *_):
        self.server.asked.append(self.path)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """Serves `tmp_path` on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path)) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def dump(server, folder, name, *options):
    """What a page in the folder has become in the browser, and what the browser had to say."""
    address = f"http://127.0.0.1:{server.server_port}/{name}"
    command = [BROWSER, *OPTIONS, *options, f"--user-data-dir={folder / 'profile'}", address]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


def open_in_browser(server, text, folder, *options, anchor=""):
    """Open a page that has the probe in it; what it has found, and what the browser had to say."""
    (folder / "page.html").write_text(text)
    shown, messages = dump(server, folder, f"page.html{anchor}", *options)
    (found,) = re.findall(r'<script type="application/json" id="found">(.*?)</script>', shown, re.DOTALL)
    return json.loads(found), messages


def with_probe(text):
    """The page with the probe, which the page's own policy would not let run."""
    digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    assert POLICY in text
    return text.replace(POLICY, f"{POLICY} 'sha256-{digest}'").replace("</body>", f"<script>{PROBE}</script></body>")


def first_numbers(cells):
    return [float(match.group().replace(",", "")) for cell in cells if (match := NUMBER.match(cell.replace("−", "-")))]


@needs_browser
def test_the_page_in_a_browser(page, server, tmp_path):
    found, messages = open_in_browser(server, with_probe(page.read_text()), tmp_path)
    assert messages == []
    assert found["fetched"] == []
    assert server.asked == ["/page.html"]
    assert len(found["images"]) == sum(FIGURES.values())
    assert all(complete and width > 200 and height > 100 for complete, width, height, _ in found["images"])
    assert all(len(alt) > 40 for *_, alt in found["images"])
    assert len(found["tables"]) == sum(TABLES.values())
    for caption, columns, heads, rows in found["tables"]:
        assert caption
        assert columns > 2
        assert heads == rows > 0
    assert found["headings"][0] == 1
    assert found["headings"].count(1) == 1
    assert found["dangling"] == []
    assert found["links"] == len(FIGURES) + 1
    folded = sum(FIGURES.values()) - len(FIGURES) + sum(TABLES.values())
    assert len(found["anchors"]) == folded
    assert all(href == f"#{fold}" for href, fold in found["anchors"])
    assert found["opened"] == []
    assert found["clicks"] == [0, 1, 0]
    assert found["printed"] == [found["folds"], 0]
    assert found["folds"] > folded
    assert found["verdicts"] == [["same", "no difference"]] * 2, "the other two questions' runs are too short"
    questions = [name for name, figures in FIGURES.items() for _ in range(figures)]
    for caption, question in zip(found["captions"], questions, strict=True):
        for text in (COMMANDS[question], "5 seeds (100 to 104)", BUDGETS[question]):
            assert text in caption
    assert not found["wider"]


@needs_browser
def test_tables_sort_by_a_column(page, server, tmp_path):
    found, _ = open_in_browser(server, with_probe(page.read_text()), tmp_path)
    for given, (first, down), (second, up), (third, back) in found["sorted"]:
        assert (first, second, third) == ("descending", "ascending", None)
        assert back == given
        assert sorted(down) == sorted(up) == sorted(given)
        assert first_numbers(down) == sorted(first_numbers(given), reverse=True)
        assert first_numbers(up) == sorted(first_numbers(given))
        empty = given.count("")
        assert down[len(down) - empty :] == up[len(up) - empty :] == [""] * empty
    assert sum(given != down for given, (_, down), *_ in found["sorted"]) == 2
    for _, (_, down), (_, up), _ in found["named"]:
        assert down == up[::-1]
        assert all(a.lower() <= b.lower() for a, b in itertools.pairwise(up))


@needs_browser
def test_an_anchor_opens_what_it_names(page, server, tmp_path):
    fold = "job-transfer-quick-figure-3-fold"
    found, _ = open_in_browser(server, with_probe(page.read_text()), tmp_path, anchor=f"#{fold}")
    assert found["opened"] == [fold]


@needs_browser
def test_the_page_is_dark_where_the_reader_wants_it_so(page, server, tmp_path):
    white, paper, ink = "rgb(255, 255, 255)", "rgb(22, 24, 27)", "rgb(232, 232, 232)"
    text = with_probe(page.read_text())
    light, _ = open_in_browser(server, text, tmp_path, "--blink-settings=preferredColorScheme=1")
    dark, _ = open_in_browser(server, text, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert light["colours"] == [white, "rgb(17, 17, 17)", white]
    assert dark["colours"] == [paper, ink, white], "figures keep the white that they are drawn on"


@needs_browser
def test_a_narrow_page_does_not_scroll_sideways(page, server, tmp_path):
    (tmp_path / "page.html").write_text(page.read_text())
    (tmp_path / "frame.html").write_text(
        f'<body><iframe src="page.html" width="390" height="800" style="border: 0"></iframe><script>{NARROW}</script>'
    )
    shown, _ = dump(server, tmp_path, "frame.html")
    assert 300 < int(re.search(r'data-width="(\d+)"', shown).group(1)) <= 390


@needs_browser
def test_the_browser_would_tell_of_errors_and_requests(server, tmp_path):
    """What the test above finds nothing of, it does find."""
    text = (
        f'<html><head><script>{PROBE}</script><link rel="icon" href="data:,"><script>console.error("oh")</script>'
        "</head><body><section><details id=a><summary>b</summary></details></section>"
        '<img src="data:image/svg+xml,nothing" alt=""><img src="http://example.org/picture.png" alt=""></body></html>'
    )
    found, messages = open_in_browser(server, text, tmp_path)
    assert len([message for message in messages if "oh" in message]) == 1
    assert "http://example.org/picture.png" in found["fetched"]
    assert [image[1] for image in found["images"]] == [0, 0]


def test_the_page_needs_nothing_else(page):
    text = page.read_text()
    assert [name for name in FIGURES if f"<code>{COMMANDS[name]}</code>" in text] == list(FIGURES)
    assert set(re.findall(r'(?:src|href)="(data:[a-z+/]*|#|[^"]*)', text)) == {"data:", "data:image/svg+xml", "#"}
    assert re.findall(r"<script[^>]*>", text) == ["<script>"]
    assert f"<script>{SCRIPT}</script>" in text
    assert "url(" not in text
    assert len(text) < 2_000_000


def test_the_same_files_give_the_same_bytes_wherever_they_lie(made_up_run, tmp_path):
    pages = []
    for name in ("here", "there"):
        job = tmp_path / name / "job"
        job.mkdir(parents=True)
        for run in (made_up_run(method=method, seed=100) for method in ("nb-pro-k", "fine-tune")):
            run.write(job)
        (job / "broken.json").write_bytes(b"{")
        write_job(job, "transfer", COMMAND)
        assert main([str(job.parent)]) == 0
        pages.append([path.read_bytes() for path in (job.parent / "index.html", job / "table.md")])
    assert pages[0] == pages[1]


def test_what_was_left_out_is_on_the_page(page):
    assert "<code>notes</code>: has no job.json" in page.read_text()
