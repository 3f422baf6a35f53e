"""The report's page, opened in a real browser."""

import json
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.report.__main__ import main
from benchmarks.report.page import POLICY
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

PROBE = """<script>addEventListener("load", () => {
  const all = (query) => [...document.querySelectorAll(query)];
  const found = {
    images: all("img").map((image) => [image.complete, image.naturalWidth, image.naturalHeight, image.alt]),
    tables: all("table").map((table) => [
      table.caption?.innerText, table.querySelectorAll("thead th[scope=col]").length,
      table.querySelectorAll("tbody th[scope=row]").length, table.querySelectorAll("tbody tr").length]),
    headings: all("h1, h2, h3").map((heading) => Number(heading.tagName[1])),
    dangling: all("nav a").map((link) => link.getAttribute("href")).filter((href) => !document.querySelector(href)),
    links: all("nav a").length,
    captions: all("figcaption").map((caption) => caption.innerText),
    fetched: performance.getEntriesByType("resource").map((entry) => entry.name),
    wider: document.documentElement.scrollWidth > innerWidth,
  };
  const answer = document.createElement("script");
  answer.type = "application/json"; answer.id = "found"; answer.textContent = JSON.stringify(found);
  document.body.append(answer);
});</script>"""
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


def open_in_browser(server, text, folder):
    """Open a page that has the probe in it; what it has found, and what the browser had to say."""
    (folder / "page.html").write_text(text)
    address = f"http://127.0.0.1:{server.server_port}/page.html"
    command = [BROWSER, *OPTIONS, f"--user-data-dir={folder / 'profile'}", address]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    (found,) = re.findall(r'<script type="application/json" id="found">(.*?)</script>', run.stdout, re.DOTALL)
    return json.loads(found), [line for line in run.stderr.splitlines() if "CONSOLE" in line]


def with_probe(text):
    """The page with the probe, which the page's own policy would not let run."""
    assert POLICY in text
    return text.replace(POLICY, f"{POLICY}; script-src 'unsafe-inline'").replace("</head>", f"{PROBE}</head>")


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
    assert found["links"] == len(FIGURES) + sum(FIGURES.values()) + sum(TABLES.values()) + 1
    questions = [name for name, figures in FIGURES.items() for _ in range(figures)]
    for caption, question in zip(found["captions"], questions, strict=True):
        for text in (COMMANDS[question], "5 seeds (100 to 104)", BUDGETS[question]):
            assert text in caption
    assert not found["wider"]


@needs_browser
def test_the_browser_would_tell_of_errors_and_requests(server, tmp_path):
    """What the test above finds nothing of, it does find."""
    text = (
        f'<html><head>{PROBE}<link rel="icon" href="data:,"><script>console.error("oh")</script></head><body>'
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
    assert "<script" not in text
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
