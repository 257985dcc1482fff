"""MNIST from mirrors that misbehave: real TLS, from a server on this machine, with certificates made for the occasion."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from exprc.datasets import load_mnist, mnist
from exprc.datasets.fetch import fetch

SHAPES = ((60, 28, 28), (60,), (10, 28, 28), (10,))
LIMIT = 200_000
pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed: it makes the certificates")


def content(place: int, shape: tuple[int, ...]) -> bytes:
    values = np.random.default_rng(place).integers(0, 256, shape).astype(np.uint8)
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()


FILES = {part.name: content(i, shape) for i, (part, shape) in enumerate(zip(mnist.PARTS, SHAPES, strict=True))}

BOMB = gzip.compress(bytes(50_000_000), 9)


# The authority, and what it vouches for


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)


def authority(folder, name: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / f"{name}.key")
    own = ("-subj", f"/CN={name}", "-days", 2, "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-x509", *key, *own, "-out", folder / f"{name}.pem")


def certificate(folder, name: str, host: str, signer: str) -> ssl.SSLContext:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / f"{name}.key")
    openssl("req", *key, "-subj", f"/CN={host}", "-out", folder / f"{name}.csr")
    (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{host}\nauthorityKeyIdentifier=keyid\n")
    signed = ("-CA", folder / f"{signer}.pem", "-CAkey", folder / f"{signer}.key", "-CAcreateserial", "-days", 2)
    openssl("x509", "-req", "-in", folder / f"{name}.csr", *signed, "-extfile", folder / f"{name}.ext", "-out", folder / f"{name}.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    authority(folder, "trusted")
    authority(folder, "unknown")
    hosts = {"good": ("localhost", "trusted"), "elsewhere": ("example.org", "trusted"), "untrusted": ("localhost", "unknown")}
    return folder / "trusted.pem", {name: certificate(folder, name, *made) for name, made in hosts.items()}


# The mirrors


class Mirror(BaseHTTPRequestHandler):
    """Serves the files below the folder ``/good/``; any other folder is named after how it misbehaves."""

    served: list[str] = []

    def do_GET(self) -> None:
        way, _, name = self.path.strip("/").partition("/")
        self.served.append(way)
        getattr(self, way)(gzip.compress(FILES[name.removesuffix(".gz")], mtime=0))

    def answer(self, body: bytes = b"", status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def good(self, packed: bytes) -> None:
        self.answer(packed, Content_Length=len(packed))

    def truncated(self, packed: bytes) -> None:
        self.answer(packed[: len(packed) // 2], Content_Length=len(packed))

    def truncated_unannounced(self, packed: bytes) -> None:
        self.answer(packed[: len(packed) // 2])

    def oversized(self, packed: bytes) -> None:
        self.answer(packed, Content_Length=10**12)

    def endless(self, packed: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(2000):  # 128 MB, of which few are taken
            self.wfile.write(bytes(65536))

    def bomb(self, packed: bytes) -> None:
        body = packed + BOMB  # the members of a gzip file are one content
        self.answer(body, Content_Length=len(body))

    def another(self, packed: bytes) -> None:
        changed = bytearray(gzip.decompress(packed))
        changed[-1] ^= 1
        self.good(gzip.compress(changed))

    def login(self, packed: bytes) -> None:
        self.answer(b"<!DOCTYPE html><title>Welcome to the hotel</title>", Content_Type="text/html")

    def downgraded(self, packed: bytes) -> None:
        self.answer(status=302, Location=f"http://localhost:{self.server.server_port}{self.path.replace('downgraded', 'good')}")

    def local(self, packed: bytes) -> None:
        self.answer(status=302, Location="file:///etc/hostname")

    def circle(self, packed: bytes) -> None:
        self.answer(status=302, Location=self.path)

    def absent(self, packed: bytes) -> None:
        self.answer(status=404)

    def broken(self, packed: bytes) -> None:
        self.answer(status=503)

    def hanging_up(self, packed: bytes) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def silent(self, packed: bytes) -> None:
        time.sleep(0.7)

    def slow(self, packed: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.drip(b"." * 60)

    def slow_headers(self, packed: bytes) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.drip(b"X-Padding: " + b"." * 60)

    def drip(self, text: bytes) -> None:
        for k in range(len(text)):
            self.wfile.write(text[k : k + 1])
            self.wfile.flush()
            time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


class Listening(ThreadingHTTPServer):
    """A server whose TLS begins in the thread of each connection, so that one bad client holds up nobody."""

    daemon_threads = False
    context: ssl.SSLContext | None = None

    def finish_request(self, request, address) -> None:
        request = self.context.wrap_socket(request, server_side=True) if self.context else request
        with request:
            super().finish_request(request, address)

    def handle_error(self, *_: object) -> None:  # a client that hangs up is what these tests are about
        pass


@pytest.fixture
def serve():
    """Start a server with a certificate, or without one; its address."""
    servers = []

    def start(context: ssl.SSLContext | None) -> str:
        server = Listening(("127.0.0.1", 0), Mirror)
        server.context = context
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"https://localhost:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def fetch_with_little_patience(url, *rest):
    """Wait briefly for those mirrors that are slow, so that the tests are not, and long for the others on a busy machine."""
    slow = url.split("/")[3] in ("silent", "slow", "slow_headers")
    return fetch(url, *rest, timeout=0.3 if slow else 20, patience=0.5 if slow else 60)


@pytest.fixture
def mirror(certificates, serve, monkeypatch, tmp_path):
    """The address of the good server; MNIST is small."""
    Mirror.served.clear()
    parts = [
        part._replace(shape=shape, sha256=hashlib.sha256(FILES[part.name]).hexdigest())
        for part, shape in zip(mnist.PARTS, SHAPES, strict=True)
    ]
    monkeypatch.setattr(mnist, "PARTS", tuple(parts))
    monkeypatch.setattr(mnist, "TRAIN", 50)
    monkeypatch.setattr(mnist, "MOST_PACKED", LIMIT)
    monkeypatch.setattr(mnist, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(mnist, "fetch", fetch_with_little_patience)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates[0]))
    monkeypatch.setenv("no_proxy", "*")
    for name in ("EXPRC_OFFLINE", "EXPRC_DATA", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return serve(certificates[1]["good"])


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def taken_from_the_second(monkeypatch, tmp_path, first: str, second: str) -> None:
    """The first mirror is left after one file, all come from the second, and nothing else is left behind."""
    monkeypatch.setattr(mnist, "MIRRORS", (first, second))
    said: list[str] = []
    train, validation, test = load_mnist(notice=said.append)
    assert [len(part.images) for part in (train, validation, test)] == [50, 10, 10]
    assert test.images.tobytes() == FILES[mnist.PARTS[2].name][16:]
    assert names(tmp_path / "cache") == sorted(f"{name}.gz" for name in FILES)
    assert [line.split()[1].removesuffix(f"{mnist.PARTS[0].name}.gz") for line in said[:2]] == [first, second]
    assert len(said) == 5


def refused(monkeypatch, tmp_path, address: str) -> str:
    """What is said where there is this mirror only; nothing of what it sent is left."""
    monkeypatch.setattr(mnist, "MIRRORS", (address,))
    with pytest.raises(FileNotFoundError) as error:
        load_mnist()
    assert not (tmp_path / "cache").exists() or names(tmp_path / "cache") == []
    (line,) = [line for line in str(error.value).splitlines() if line.startswith("  not fetched")]
    return line


def test_a_good_mirror_gives_all_files(mirror, monkeypatch, tmp_path):
    monkeypatch.setattr(mnist, "MIRRORS", (mirror + "good/",))
    assert load_mnist().train.labels.tobytes() == FILES[mnist.PARTS[1].name][8:58]
    assert Mirror.served == ["good"] * 4
    assert names(tmp_path / "cache") == sorted(f"{name}.gz" for name in FILES)


WAYS = {
    "truncated": "broke off: ",
    "truncated_unannounced": "the compressed data is damaged",
    "oversized": f"is longer than the {LIMIT:,} bytes it may have",
    "endless": f"is longer than the {LIMIT:,} bytes it may have",
    "bomb": "the file is longer than it claims",
    "another": "the content is not the published one",
    "login": "not an IDX file",
    "downgraded": "only https addresses are fetched, not http://localhost",
    "local": "file:///etc/hostname",
    "circle": "was answered with 302",
    "absent": "was answered with 404 Not Found",
    "broken": "was answered with 503 Service Unavailable",
    "hanging_up": "gave no valid answer",
    "silent": "timed out",
    "slow": "is too slow",
    "slow_headers": "is too slow",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_mirror_that_misbehaves_is_left_for_the_next(mirror, monkeypatch, tmp_path, way):
    assert WAYS[way] in refused(monkeypatch, tmp_path, f"{mirror}{way}/")
    taken_from_the_second(monkeypatch, tmp_path, f"{mirror}{way}/", f"{mirror}good/")
    if way == "downgraded":
        assert Mirror.served == ["downgraded", "downgraded", *["good"] * 4], "nothing was asked for over http"


@pytest.mark.parametrize("name", ["untrusted", "elsewhere"])
def test_a_mirror_that_cannot_prove_who_it_is_gets_no_word(mirror, serve, certificates, monkeypatch, tmp_path, name):
    stranger = serve(certificates[1][name]) + "good/"
    assert "certificate verify failed" in refused(monkeypatch, tmp_path, stranger)
    taken_from_the_second(monkeypatch, tmp_path, stranger, f"{mirror}good/")
    assert Mirror.served == ["good"] * 4, "the stranger was asked for nothing"


def test_a_server_without_tls_is_left(mirror, serve, monkeypatch, tmp_path):
    plain = serve(None) + "good/"
    assert "not fetched" in refused(monkeypatch, tmp_path, plain)
    taken_from_the_second(monkeypatch, tmp_path, plain, f"{mirror}good/")


def test_nobody_there(mirror, monkeypatch, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"https://localhost:{unused.getsockname()[1]}/good/"
        assert "Connection refused" in refused(monkeypatch, tmp_path, nobody)
        taken_from_the_second(monkeypatch, tmp_path, nobody, f"{mirror}good/")
