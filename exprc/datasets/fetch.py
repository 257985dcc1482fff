"""Fetch one file over https: bounded in size and time, checked before it gets its name."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from exprc.errors import report

SCHEME = "https"
CHUNK = 1 << 16


def offline() -> bool:
    """Whether the user forbade all downloads with ``EXPRC_OFFLINE=1``."""
    return os.environ.get("EXPRC_OFFLINE", "") not in ("", "0")


def fetch(
    url: str,
    path: str | os.PathLike[str],
    check: Callable[[Path], object],
    limit: int = 1 << 30,
    timeout: float = 10.0,
    patience: float = 300.0,
) -> Path:
    """Fetch a file, check it, and only then give it its name.

    The bytes go to a ``.part`` file beside `path`, which is renamed when `check` is content and removed when anything
    goes wrong, so that `path` is a whole and checked file or absent.

    Parameters
    ----------
    url : an https address; a redirect to anything but https is refused.
    path : the file to make; its folder is made where it is missing.
    check : called with the ``.part`` file; raises ValueError if the content is wrong.
    limit : the most bytes to accept.
    timeout : seconds to wait for the server, each time it is waited for.
    patience : seconds that the whole transfer may take.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OSError
        ``EXPRC_OFFLINE`` is set, the server cannot be reached, does not answer with the file, or is too slow; or the
        folder cannot be written.
    ValueError
        The address is not https, the file is too long, or `check` refused it.

    Examples
    --------
    >>> fetch("http://example.org/a", "a", check=print)
    Traceback (most recent call last):
    ValueError: fetch: only https addresses are fetched, not http://example.org/a
      what comes over http can be changed on its way
    """
    _check_address(url)
    if offline():
        raise OSError(report(f"fetch: {url} not fetched, EXPRC_OFFLINE is set", fix="unset it to allow downloads"))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name + ".", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _receive(url, file, limit, timeout, time.monotonic() + patience)
        check(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


class SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            _check_address(newurl)
        except ValueError:
            fp.close()  # urllib would leave the connection to the garbage collector
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str) -> None:
    if urlsplit(url).scheme != SCHEME:
        fix = "what comes over http can be changed on its way"
        raise ValueError(report(f"fetch: only {SCHEME} addresses are fetched, not {url}", fix=fix))


class _Watched(urllib.request.HTTPSHandler):
    """Opens connections that are cut at the deadline, in the middle of the headers too, which have no other limit in time."""

    def __init__(self, deadline: float):
        super().__init__()
        self.late = False
        self.connections: list[HTTPSConnection] = []
        self.timer = threading.Timer(max(0.0, deadline - time.monotonic()), self.cut)
        self.timer.daemon = True
        self.timer.start()

    def https_open(self, request: Any) -> Any:
        return self.do_open(self._connection, request)  # type: ignore[arg-type]

    def _connection(self, host: str, **options: Any) -> HTTPSConnection:
        self.connections.append(HTTPSConnection(host, **options))
        return self.connections[-1]

    def cut(self) -> None:
        self.late = True
        for connection in self.connections:
            held = connection.sock
            if held is not None:  # else it is not open yet, or its answer has begun, and that is watched piece by piece
                with suppress(OSError):
                    socket.socket.shutdown(held, socket.SHUT_RDWR)  # below TLS, which the other thread is using


def _receive(url: str, file: IO[bytes], limit: int, timeout: float, deadline: float) -> None:
    watched = _Watched(deadline)
    try:
        _take(url, file, limit, timeout, deadline, watched)
    except OSError:
        if not watched.late:
            raise
    finally:
        watched.timer.cancel()
    if watched.late:
        raise TimeoutError(report(f"fetch: {url} is too slow: {file.tell():,} bytes so far"))


def _take(url: str, file: IO[bytes], limit: int, timeout: float, deadline: float, watched: _Watched) -> None:
    opener = urllib.request.build_opener(SecureRedirects, watched)
    try:
        with opener.open(url, timeout=timeout) as response:
            promised = response.headers.get("Content-Length", "")
            if promised.isdigit() and int(promised) > limit:
                raise _too_long(url, limit)
            received = _copy(url, _pieces(response), file, limit, deadline)
    except HTTPError as error:
        with error:
            raise OSError(report(f"fetch: {url} was answered with {error.code} {error.reason}")) from None
    except HTTPException as error:
        raise OSError(report(f"fetch: {url} gave no valid answer: {error!r}")) from error
    if promised.isdigit() and received != int(promised):
        raise OSError(report(f"fetch: {url} broke off: {received:,} of {int(promised):,} bytes came"))


def _pieces(response: Any) -> Iterable[bytes]:
    return iter(lambda: response.read1(CHUNK), b"")


def _copy(url: str, pieces: Iterable[bytes], file: IO[bytes], limit: int, deadline: float) -> int:
    received = 0
    for piece in pieces:
        received += len(piece)
        if received > limit:
            raise _too_long(url, limit)
        if time.monotonic() > deadline:
            raise TimeoutError(report(f"fetch: {url} is too slow: {received:,} bytes so far"))
        file.write(piece)
    return received


def _too_long(url: str, limit: int) -> ValueError:
    return ValueError(report(f"fetch: {url} is longer than the {limit:,} bytes it may have"))
