"""The page in a real browser: at two widths, light and dark, without an error and without a request of its own."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest
from helpers_findings import typical
from helpers_report import comparison_in, confirm_into, free_run, whole_run

from rlsearch.reports.page import report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium")

WIDTHS = (400, 1400)

# A browser without a screen makes no window as narrow as a telephone: the page is shown in frames.
FRAMES = """<!doctype html><link rel="icon" href="data:,"><pre id="seen"></pre>
<iframe src="page.html" width="400" height="900"></iframe><iframe src="page.html" width="1400" height="900"></iframe>
<script>
addEventListener("load", () => {
  const seen = Array.from(document.querySelectorAll("iframe"), (frame) => {
    const page = frame.contentDocument, root = page.documentElement;
    const table = page.getElementById("leaders"), filter = page.getElementById("filter");
    const column = (name) => Array.from(table.tBodies[0].rows, (row) => row.querySelector(name).textContent);
    const found = {
      overflow: root.scrollWidth - root.clientWidth,
      paper: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
      hidden: page.querySelectorAll("[hidden]").length,
    };
    if (table) {
      found.ranks = column("td");
      table.tHead.querySelectorAll("button")[0].click();
      table.tHead.querySelectorAll("button")[0].click();
      found.sorted = column("td");
      found.sign = table.tHead.rows[0].cells[0].getAttribute("aria-sort");
      filter.value = "SIGMOID";
      filter.dispatchEvent(new Event("input"));
      found.filtered = Array.from(table.tBodies[0].rows).filter((row) => !row.hidden)
        .map((row) => row.querySelector(".formula").textContent);
      found.count = page.getElementById("count").textContent;
    }
    return found;
  });
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and notes what was asked for."""

    asked: list = []  # noqa: RUF012 (filled anew for each server)

    def log_message(self, *_):
        self.asked.append(self.path)


@pytest.fixture
def shown(tmp_path):
    """Shows a page; returns what the frames have seen, what was asked of the server, and the browser's complaints."""

    def shown(page, dark):
        (tmp_path / "page.html").write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
        (tmp_path / "frames.html").write_text(FRAMES)
        Quiet.asked = []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            done = subprocess.run(
                [
                    BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
                    "--window-size=1500,2000", f"--user-data-dir={tmp_path / 'profile'}",
                    f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--virtual-time-budget=5000",
                    "--dump-dom", f"http://127.0.0.1:{server.server_port}/frames.html",
                ],
                capture_output=True, text=True, timeout=200, check=True,
            )  # fmt: skip
        finally:
            server.shutdown()
            server.server_close()
        seen = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)[1].replace("&lt;", "<"))
        complaints = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        return seen, sorted(set(Quiet.asked)), complaints

    return shown


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_run(dark, shown, tmp_path):
    seen, asked, complaints = shown(report(whole_run(tmp_path)), dark)
    assert complaints == []
    assert asked == ["/frames.html", "/page.html"]
    assert len(seen) == len(WIDTHS)
    for frame in seen:
        # Wide tables scroll by themselves; the page does not.
        assert frame["overflow"] <= 0
        assert frame["paper"] == ("rgb(22, 25, 29)" if dark else "rgb(255, 255, 255)")
        # The script has shown what needs it.
        assert frame["hidden"] == 0
        assert frame["ranks"] == [str(rank) for rank in range(1, len(frame["ranks"]) + 1)]
        assert frame["sorted"] == frame["ranks"][::-1]
        assert frame["sign"] == "descending"
        assert 0 < len(frame["filtered"]) < len(frame["ranks"])
        assert all("sigmoid" in formula for formula in frame["filtered"])
        assert frame["count"] == f"{len(frame['filtered'])} of {len(frame['ranks'])}"


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: free_run(folder, "a<script>console.error(1)</script>".replace("/", "")),
        comparison_in,
        lambda folder: confirm_into(folder / "alone", typical()),
    ],
    ids=["nothing confirmed", "a comparison", "a confirmation"],
)
def test_a_page_without_some_parts(make, shown, tmp_path):
    (tmp_path / "there").mkdir()
    seen, asked, complaints = shown(report(make(tmp_path / "there")), dark=False)
    assert complaints == []
    assert asked == ["/frames.html", "/page.html"]
    assert [frame["overflow"] <= 0 for frame in seen] == [True, True]
