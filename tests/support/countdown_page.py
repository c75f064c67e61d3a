"""The page as the tests see it, in tabs of a real browser."""

from urllib.parse import urlsplit

# How Chromium complains about a cut depends on the version of gunicorn.
CUT = ("net::ERR_INCOMPLETE_CHUNKED_ENCODING", "net::ERR_INVALID_CHUNKED_ENCODING")
REFUSED = "net::ERR_CONNECTION_REFUSED"
SECOND = 1000  # Playwright counts in milliseconds
RECORD_STATES = """
    window.heard = [];
    new MutationObserver((mutations) => {
        for (const { target } of mutations)
            if (target.id === "state") heard.push(target.textContent);
    }).observe(document, { childList: true, subtree: true });
"""


class Watch:
    """What a context's tabs ask for, and the complaints that no test has expected."""

    def __init__(self, context):
        self.requests, self.complaints, self.expected = [], [], ()
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("console", self.note)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def note(self, message):
        if message.type in ("warning", "error"):
            self.complaints.append(message.text)

    def check(self):
        assert [c for c in self.complaints if not c.endswith(self.expected)] == []
        urls = [urlsplit(url) for url in self.requests if not url.startswith("data:")]
        assert {url.path for url in urls} == {"/", "/sse/"}
        assert all(url.hostname.endswith("localhost") for url in urls)


def open_tab(context, server, host="localhost"):
    tab = context.new_page()
    tab.goto(f"http://{host}:{server.port}/")
    return tab


def open_through_link(context, tab):
    with context.expect_page() as opened:
        tab.get_by_role("link").click()
    return opened.value


def number(tab):
    return tab.locator("#count")  # or Blastoff!; hidden while the tab waits


def state(tab):
    return tab.locator("#state")  # what the tab is doing


def heard(tab):
    return tab.evaluate("heard")  # what a screen reader has read aloud so far
