"""Fetching over the network stack, from a server on this machine that misbehaves in every way it can."""

from __future__ import annotations

import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from exprc.datasets import fetch as module
from exprc.datasets.fetch import fetch

CONTENT = bytes(range(256)) * 20
FIX = "what comes over http can be changed on its way"


class Misbehaving(BaseHTTPRequestHandler):
    """Does what the path says."""

    def do_GET(self) -> None:
        getattr(self, self.path.strip("/").replace(".gz", ""))()

    def answer(self, content: bytes = b"", status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)

    def whole(self) -> None:
        self.answer(CONTENT, Content_Length=len(CONTENT))

    def unannounced(self) -> None:
        self.answer(CONTENT)

    def absent(self) -> None:
        self.answer(status=404)

    def cut(self) -> None:
        self.answer(CONTENT[:100], Content_Length=len(CONTENT))

    def moved(self) -> None:
        self.answer(status=302, Location="/whole")

    def downgraded(self) -> None:
        self.answer(status=302, Location="ftp://example.org/whole")

    def local(self) -> None:
        self.answer(status=302, Location="file:///etc/hostname")

    def silent(self) -> None:
        time.sleep(0.6)

    def dripping(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(12):
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(0.05)

    def nonsense(self) -> None:
        self.wfile.write(b"no such protocol\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    """The address of the server; http stands for https here, as a certificate would add nothing to the test."""
    monkeypatch.setattr(module, "SCHEME", "http")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("EXPRC_OFFLINE", raising=False)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    listening.handle_error = lambda *_: None  # a client that hangs up is what these tests are about
    listening.daemon_threads = False  # server_close waits for the answers, so that no socket outlives the test
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}/"
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "file.gz"


def accept(part) -> None:
    assert part.name.endswith(".part") and part.name.startswith("file.gz.")


def failure(kind, path, url, check=accept, **options) -> str:
    """The text of the error; neither the file nor a part of it is left."""
    with pytest.raises(kind) as error:
        fetch(url, path, check, **options)
    assert not path.parent.exists() or not list(path.parent.iterdir())
    return str(error.value)


@pytest.mark.parametrize("way", ["whole", "unannounced", "moved"])
def test_a_file_arrives_whole(server, path, way):
    assert fetch(server + way, path, accept, limit=len(CONTENT)) == path
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_the_check_sees_the_whole_file_before_it_has_its_name(server, path):
    def check(part) -> None:
        assert part.read_bytes() == CONTENT and not path.exists()

    fetch(server + "whole", path, check)


def test_an_older_file_stays_when_the_new_one_is_refused(server, path):
    path.parent.mkdir()
    path.write_bytes(b"older")

    def refuse(part) -> None:
        raise ValueError("not this one")

    with pytest.raises(ValueError, match="not this one"):
        fetch(server + "whole", path, refuse)
    assert path.read_bytes() == b"older" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("way", ["whole", "unannounced"])
def test_a_file_longer_than_the_limit_is_refused(server, path, way):
    text = failure(ValueError, path, server + way, limit=len(CONTENT) - 1)
    assert text == f"fetch: {server}{way} is longer than the 5,119 bytes it may have"


def test_a_file_that_breaks_off_is_refused(server, path):
    text = failure(OSError, path, server + "cut")
    assert text == f"fetch: {server}cut broke off: 100 of 5,120 bytes came"


def test_a_redirect_to_another_scheme_is_refused(server, path):
    text = failure(ValueError, path, server + "downgraded")
    assert text == "fetch: only http addresses are fetched, not ftp://example.org/whole\n  " + FIX


def test_a_redirect_to_a_file_of_this_machine_is_refused(server, path):
    assert "file:///etc/hostname" in failure(OSError, path, server + "local")


def test_a_redirect_from_https_to_http_is_refused():
    with pytest.raises(ValueError) as error:
        module.SecureRedirects().redirect_request(None, io.BytesIO(), 302, "Found", {}, "http://example.org/a")
    assert str(error.value) == "fetch: only https addresses are fetched, not http://example.org/a\n  " + FIX


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/hostname", "ftp://example.org/a", "a", ""])
def test_only_https_is_fetched(path, url):
    assert failure(ValueError, path, url) == f"fetch: only https addresses are fetched, not {url}\n  {FIX}"


def test_an_absent_file_is_an_os_error(server, path):
    text = failure(OSError, path, server + "absent")
    assert text == f"fetch: {server}absent was answered with 404 Not Found"


def test_an_answer_that_is_no_http_is_an_os_error(server, path):
    text = failure(OSError, path, server + "nonsense")
    assert text == f"fetch: {server}nonsense gave no valid answer: BadStatusLine('no such protocol\\r\\n')"


def test_a_silent_server_is_given_up(server, path):
    start = time.monotonic()
    failure(OSError, path, server + "silent", timeout=0.2)
    assert time.monotonic() - start < 0.5


def test_a_slow_server_is_given_up(server, path):
    text = failure(TimeoutError, path, server + "dripping", patience=0.2)
    assert text.startswith(f"fetch: {server}dripping is too slow: ")


def test_nobody_listening_is_an_os_error(server, path):
    failure(OSError, path, "http://127.0.0.1:1/")


@pytest.mark.parametrize(("value", "refused"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_offline_means_offline(server, path, monkeypatch, value, refused):
    monkeypatch.setenv("EXPRC_OFFLINE", value)
    if not refused:
        assert fetch(server + "whole", path, accept).exists()
    else:
        text = f"fetch: {server}whole not fetched, EXPRC_OFFLINE is set\n  unset it to allow downloads"
        assert failure(OSError, path, server + "whole") == text
