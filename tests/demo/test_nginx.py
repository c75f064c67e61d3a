"""The nginx configuration in README.md, in a real nginx."""

import os
import re
import shutil
import subprocess

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.countdown_page import state
from tests.support.server import ROOT, Server, free_port, running, wait_for_port
from tests.support.tab import read_numbers

# Not every user has the folder of the servers in PATH.
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
CONFIGURATION = """
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate certificate.pem;
        ssl_certificate_key key.pem;
        {location}
    }}
}}
"""
SIGN = """openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost
    -keyout key.pem -out certificate.pem"""
pytestmark = [
    pytest.mark.skipif(
        not NGINX, reason="nginx is not installed: apt install nginx-light"
    ),
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed"),
]


@pytest.fixture
def url(tmp_path):
    """The address of an nginx, with README.md's location, in front of uvicorn."""
    subprocess.run(SIGN.split(), cwd=tmp_path, check=True, capture_output=True)
    port = free_port()
    block = re.search(r"```nginx\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    with Server("run-asgi", TICK=0.3) as server:
        location = block[1].replace("127.0.0.1:8001", f"127.0.0.1:{server.port}")
        text = CONFIGURATION.format(port=port, location=location)
        (tmp_path / "nginx.conf").write_text(text)
        with running([NGINX, "-p", tmp_path, "-c", "nginx.conf"]):
            wait_for_port(port)
            yield f"https://localhost:{port}"


async def test_events_pass_one_by_one(url):
    """A buffer would keep them until it is full or the stream ends, in 30 seconds."""
    async with httpx.AsyncClient(base_url=url, verify=False, timeout=20) as client:
        assert await read_numbers(client, most=3) == [100, 99, 98]
        async with client.stream("GET", "/sse/") as response:
            part = await anext(response.aiter_bytes())
            assert part == b'event:i\ndata: {"i": 100}\n\n'


def test_twelve_tabs_of_one_host_count_over_http2(url, browser):
    with browser.new_context(ignore_https_errors=True) as context:
        tabs = [context.new_page() for _ in range(12)]
        for tab in tabs:
            tab.goto(url)
        for tab in tabs:
            expect(state(tab)).to_have_text("counting from 100")
        protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
        assert {tab.evaluate(protocol) for tab in tabs} == {"h2"}
