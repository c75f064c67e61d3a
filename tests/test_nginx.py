"""The nginx configuration in README.md, in a real nginx."""

import os
import re
import shutil

import httpx
import pytest
from harness import ROOT, Server, free_port, read_numbers, running, wait_for_port

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
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


def location(port):
    """The location block of README.md, for a server on another port."""
    block = re.search(r"```nginx\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return block[1].replace("127.0.0.1:8001", f"127.0.0.1:{port}")


@pytest.mark.skipif(not NGINX, reason="nginx is not installed: apt install nginx-light")
async def test_events_pass_one_by_one(tmp_path):
    port = free_port()
    with Server("run-asgi", TICK=0.3) as server:
        text = CONFIGURATION.format(port=port, location=location(server.port))
        (tmp_path / "nginx.conf").write_text(text)
        with running([NGINX, "-p", tmp_path, "-c", "nginx.conf"]):
            wait_for_port(port)
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, timeout=20) as client:
                assert (await client.get("/")).status_code == 200
                # A buffer would keep them until it is full or the stream ends.
                assert await read_numbers(client, most=3) == [100, 99, 98]
                async with client.stream("GET", "/sse/") as response:
                    part = await anext(response.aiter_bytes())
                    assert part == b'event:i\ndata: {"i": 100}\n\n'
