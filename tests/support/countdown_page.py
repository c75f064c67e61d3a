"""The page as the tests see it, in tabs of a real browser."""

SECOND = 1000  # Playwright counts in milliseconds


def open_tab(context, server, host="localhost"):
    tab = context.new_page()
    tab.goto(f"http://{host}:{server.port}/")
    return tab


def number(tab):
    return tab.locator("#count")  # or Blastoff!; hidden while the tab waits


def state(tab):
    return tab.locator("#state")  # what the tab is doing


def heard(tab):
    return tab.evaluate("heard")  # what a screen reader has read aloud so far
