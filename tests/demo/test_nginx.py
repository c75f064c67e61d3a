"""The nginx configuration in README.md, in a real nginx."""

import os
import re
import shutil
import subprocess
from contextlib import contextmanager

import httpx
import pytest
from harness import ROOT, Server, free_port, read_numbers, running, wait_for_port
from page import state
from playwright.sync_api import expect

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
        listen 127.0.0.1:{port} {options};
        {more}
        {location}
    }}
}}
"""
HTTP2 = """
        ssl_certificate certificate.pem;
        ssl_certificate_key key.pem;
"""
SIGN = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost"
needs_nginx = pytest.mark.skipif(
    not NGINX, reason="nginx is not installed: apt install nginx-light"
)


def location(port):
    """The location block of README.md, for a server on another port."""
    block = re.search(r"```nginx\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return block[1].replace("127.0.0.1:8001", f"127.0.0.1:{port}")


@contextmanager
def proxy(folder, server, options="", more=""):
    """Run nginx before the server, with README.md's location; yield its port."""
    port = free_port()
    text = CONFIGURATION.format(
        port=port, location=location(server.port), options=options, more=more
    )
    (folder / "nginx.conf").write_text(text)
    with running([NGINX, "-p", folder, "-c", "nginx.conf"]):
        wait_for_port(port)
        yield port


@needs_nginx
async def test_events_pass_one_by_one(tmp_path):
    with Server("run-asgi", TICK=0.3) as server, proxy(tmp_path, server) as port:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            assert (await client.get("/")).status_code == 200
            # A buffer would keep them until it is full or the stream ends.
            assert await read_numbers(client, most=3) == [100, 99, 98]
            async with client.stream("GET", "/sse/") as response:
                part = await anext(response.aiter_bytes())
                assert part == b'event:i\ndata: {"i": 100}\n\n'


@needs_nginx
@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_twelve_tabs_of_one_host_count_over_http2(tmp_path, browser):
    files = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem"]
    subprocess.run([*SIGN.split(), *files], check=True, capture_output=True)
    with (
        Server("run-asgi") as server,
        proxy(tmp_path, server, "ssl http2", HTTP2) as port,
        browser.new_context(ignore_https_errors=True) as context,
    ):
        tabs = [context.new_page() for _ in range(12)]
        for tab in tabs:
            tab.goto(f"https://localhost:{port}/")
        for tab in tabs:
            expect(state(tab)).to_have_text("counting from 100")
        protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
        assert {tab.evaluate(protocol) for tab in tabs} == {"h2"}
