"""Zips on a web server: fetched when an app is built, and unpacked once for their content.

What the server says of the version (`ETag`, `Last-Modified`) is noted, so that it is asked for what
is new only. Nothing else is trusted to stay: the same address may have another content tomorrow.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import msgspec

from salver.environment.archive import unpacked
from salver.environment.cache import is_filled
from salver.errors import EnvironmentFailedError

__all__ = ("fetched",)

_PATIENCE_S: Final = 30.0  # without a byte
_UNCHANGED: Final = 304


class _Note(msgspec.Struct, frozen=True):
    """Where the content is, and what the server calls this version of it."""

    folder: str
    etag: str | None = None
    modified: str | None = None


def fetched(url: str, cache: Path, said: str) -> Path:
    """The folder with what is in the zip. `said` is how errors name it.

    A server that cannot be reached does not matter if the zip has been fetched before.
    """
    file = cache / "fetched" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    folders, place = cache / "folders", url.partition("?")[0]  # a signature is nobody's business
    known = _known(file, folders)
    try:
        with urlopen(_request(url, known), timeout=_PATIENCE_S) as answer:  # noqa: S310 - http(s)
            folder = _kept(answer, file, folders, said)
        _tell(f"Fetched {place} into {folder}.")
        return folder
    except HTTPError as error:
        error.close()
        if known is None or error.code != _UNCHANGED:
            why = f"the server answers {error.code} {error.reason}"
            raise EnvironmentFailedError(f"{said} cannot be fetched: {why}.") from None
    except (OSError, HTTPException) as error:
        why = str(error.reason if isinstance(error, URLError) else error)
        if known is None:
            raise EnvironmentFailedError(f"{said} cannot be fetched: {why}.") from None
        _tell(f"{place} cannot be fetched ({why}): what it was the last time is used.")
    return folders / known.folder


def _known(file: Path, folders: Path) -> _Note | None:
    """What was fetched before, and is still there."""
    try:
        note = msgspec.json.decode(file.read_bytes(), type=_Note)
    except (OSError, msgspec.MsgspecError):
        return None
    return note if is_filled(folders / note.folder) else None


def _request(url: str, known: _Note | None) -> Request:
    headers = {"User-Agent": "salver"}
    if known is not None and known.etag:
        headers["If-None-Match"] = known.etag
    if known is not None and known.modified:
        headers["If-Modified-Since"] = known.modified
    return Request(url, headers=headers)  # noqa: S310 - `spec/environment.py` has seen the scheme


def _kept(answer: HTTPResponse, file: Path, folders: Path, said: str) -> Path:
    length = answer.headers["Content-Length"]
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part") as part:
        shutil.copyfileobj(answer, part)
        part.flush()
        if length is not None and part.tell() != int(length):
            raise HTTPException(f"it ended after {part.tell()} of {length} bytes")
        folder = unpacked(Path(part.name), folders, said)
    note = _Note(folder.name, answer.headers["ETag"], answer.headers["Last-Modified"])
    new = file.with_suffix(f".{folder.name}")
    new.write_bytes(msgspec.json.encode(note))
    new.replace(file)
    return folder


def _tell(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
