"""README.md's nginx: a sync project's pages on gunicorn, its streams on uvicorn."""

import os
import re
import shutil
import subprocess

import pytest
from playwright.sync_api import expect

from tests.support.server import ROOT, Server, free_port, running, wait_for_page

# Not every user's PATH has the folder in which servers are installed.
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
        {locations}
    }}
}}
"""
SIGN = """openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost
    -keyout key.pem -out certificate.pem"""
NONE = "nginx or openssl is not installed: apt install nginx-light openssl"
pytestmark = pytest.mark.skipif(not (NGINX and shutil.which("openssl")), reason=NONE)


@pytest.fixture
def url(tmp_path):
    """The address of an nginx, with README.md's locations, in front of both servers."""
    subprocess.run(SIGN.split(), cwd=tmp_path, check=True, capture_output=True)
    port = free_port()
    block = re.search(r"```nginx\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    with Server("run-wsgi") as wsgi, Server("run-asgi", TICK=0.3) as asgi:
        locations = block.replace(":8000;", f":{wsgi.port};")
        locations = locations.replace(":8001;", f":{asgi.port};")
        text = CONFIGURATION.format(port=port, locations=locations)
        (tmp_path / "nginx.conf").write_text(text)
        url = f"https://localhost:{port}"
        with running([NGINX, "-p", tmp_path, "-c", "nginx.conf"]) as process:
            wait_for_page(url, process)
            yield url


def test_twelve_tabs_of_one_host_count_over_http2(url, browser):
    """The pages are gunicorn's, whose one worker would not let twelve of them count."""
    with browser.new_context(ignore_https_errors=True) as context:
        tabs = [context.new_page() for _ in range(12)]
        for tab in tabs:
            tab.goto(url)
        for tab in tabs:
            expect(tab.locator("#state")).to_have_text("counting from 100")
            expect(tab.locator("h1")).to_have_text("WSGI")
        protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
        assert {tab.evaluate(protocol) for tab in tabs} == {"h2"}
