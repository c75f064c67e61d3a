"""README.md cannot drift: what it names exists, and the commands in it run."""

import json
import re
import sys
from textwrap import indent

import httpx
import pytest
from bench_report import number
from harness import ROOT, VENV, free_port, running, wait_for_port

README = (ROOT / "README.md").read_text()
PROSE = " ".join(README.split())
MAKEFILE = (ROOT / "Makefile").read_text()
POST = (ROOT / "tests" / "test_post.py").read_text()
EXCERPTS = re.findall(r"```python (\S+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    re.sub(r"\s+#.*", "", line)
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.replace("\\\n    ", "").splitlines()
]
SERVERS = [command for command in COMMANDS if re.search("run-|runserver|/", command)]


@pytest.mark.parametrize(("name", "excerpt"), EXCERPTS)
def test_excerpt_stands_in_its_file(name, excerpt):
    text = (ROOT / name).read_text()
    assert any(indent(excerpt, " " * columns) in text for columns in (0, 4))


def test_every_code_block_is_checked():
    kinds = set(re.findall(r"^```(.+)$", README, re.MULTILINE))
    assert kinds == {
        "sh",
        "nginx",
        "text",
        "diff",
        *(f"python {name}" for name, _ in EXCERPTS),
    }


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https:)([^)\s]+)\)", README))
def test_link_resolves(link):
    if link.startswith("#"):
        headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
        assert link[1:] in [heading.lower().replace(" ", "-") for heading in headings]
    else:
        assert (ROOT / link).exists()


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`(test_\w+\.py(?:::\w+)?)`", README)))
)
def test_test_exists(name):
    file, _, function = name.partition("::")
    text = (ROOT / "tests" / file).read_text()
    assert not function or re.search(rf"^(async )?def {function}\(", text, re.MULTILINE)


def test_claims_have_the_tests_of_the_post_in_its_order():
    tests = re.findall(r"^(?:async )?def (test_\w+)", POST, re.MULTILINE)
    assert re.findall(r"`(test_\d\w+)`", README) == tests


@pytest.mark.parametrize("picture", re.findall(r"!\[[^]]*\]\((\S+)\)", README))
def test_picture_is_named_with_the_command_that_made_it(picture):
    assert re.search(rf"`make (tabs|compare|bench)[^`]*={re.escape(picture)}`", README)


@pytest.mark.parametrize("name", ["bench.json", "servers.json"])
def test_figures_are_those_that_were_measured(name):
    measured = json.loads((ROOT / "tests" / "pictures" / name).read_text())
    python, django = (".".join(v.split(".")[:2]) for v in measured["versions"][:2])
    assert f"{python}, {django.title()}" in PROSE
    for figures in measured["figures"]:
        if figures["streams"] == 1000 and not figures["busy"]:
            last_cells = " | ".join(cells(figures, name == "servers.json"))
            contestant = rf"^\| {figures['contestant']} \|.*"
            assert re.search(contestant + re.escape(last_cells), README, re.MULTILINE)
        if figures["contestant"] == "gunicorn threads" and figures["streams"] == 5000:
            assert f"{figures['on_time']} of 5,000 streams" in PROSE


def cells(figures, stops):
    """A row of README.md's tables, as `make bench` prints the figures."""
    yield f"{figures['opened']:,}"
    yield f"{figures['threads']:,}"
    yield number(figures["memory"], 1e3, 1)
    yield number(figures["open_cpu"], 1e-6, 0)
    yield number(figures["event_cpu"], 1e-6, 0)
    if stops:
        yield number(figures["stop"], 1, 1)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", README))))
def test_target_exists(target):
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize(
    "variable", sorted(set(re.findall(r"\b([A-Z_]{3,})=", README)))
)
def test_variable_exists(variable):
    files = [*ROOT.glob("*.py"), *ROOT.glob("tests/**/*.py")]
    code = MAKEFILE + "".join(path.read_text() for path in files)
    assert re.search(rf"\b{variable}\b", code)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in SERVERS])
def test_command_is_run_by_ci(command):
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert command in [line.strip() for line in lines]


@pytest.mark.parametrize("command", SERVERS)
def test_command_starts_a_server(command):
    """Each is run as it stands, but on a free port and in the tests' environment."""
    port = str(free_port())
    command = re.sub(r"\b80\d\d\b", port, command).replace(".venv", sys.prefix)
    if "make" in command:
        command += f" PORT={port} VENV={VENV}"
    with running(["sh", "-c", command]):
        wait_for_port(int(port))
        url = f"http://127.0.0.1:{port}/sse/"
        with httpx.stream("GET", url, timeout=20) as response:
            first = 10 if command.startswith("COUNT=10 ") else 100
            chunks = response.iter_text()
            for number in (first, first - 1):
                assert next(chunks) == f'event:i\ndata: {{"i": {number}}}\n\n'
