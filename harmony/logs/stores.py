"""Files in object stores, on hubs and on the web, given by URI, and names with glob signs: both through fsspec.

fsspec is imported when the first such name is used, because local files do without it. The package of a store, such as
s3fs, is imported by fsspec. Errors of stores become OSError, whatever class they have there.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from harmony.logs.places import Stamp

_AHEAD: Final = 1 << 23  # bytes that are requested from a store at a time
_DEEP: Final = re.compile(r"(?<=/)\*\*([^*/][^/]*)$")  # `**.jsonl` is a file at any depth
_SIGNS: Final = frozenset("*?[")
_PACKAGES: Final = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    "hf": "huggingface_hub",
}
#: What tells two versions of a file apart, as the stores name it; the first that a store knows is taken.
_VERSIONS: Final = (
    *("ETag", "etag", "VersionId", "generation", "oid", "blob_id", "mtime", "LastModified", "last_modified", "updated"),
    *("Last-Modified", "created"),
)


def is_remote(name: str) -> bool:
    """Whether a name is a URI of a store. The URI of a local file is not; see `local`."""
    return "://" in name and not name.startswith("file://")


def local(name: str) -> str:
    """The path of a local file that is given as `file://`; any other name as it is."""
    return unquote(urlsplit(name).path) if name.startswith("file://") else name


def is_pattern(name: str) -> bool:
    """Whether a name has glob signs, and is not the name of a local file. In a web address, `?` is no such sign."""
    if name.startswith(("http://", "https://")):
        return "*" in name
    return not _SIGNS.isdisjoint(name) and (is_remote(name) or not os.path.lexists(name))


def place_of(name: str) -> tuple[Any, str]:
    """The filesystem of a URI, and the path there. Raises ImportError and ValueError."""
    kind = name.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ImportError(f"{name} needs fsspec: pip install 'harmony-codec[cli]'") from None
    try:
        filesystem, path = url_to_fs(name)
    except ImportError as error:
        package = _PACKAGES.get(kind)
        hint = f"{package}: pip install {package}" if package else f"another package: {error}"
        raise ImportError(f"{name} needs {hint}") from None
    except ValueError as error:
        raise ValueError(f"{name}: expected a URI such as s3://bucket/log.jsonl, found a fault: {error}") from None
    return filesystem, path


@contextmanager
def _as_os_error(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        cause = error.__cause__
        if cause is not None and name.startswith(("http://", "https://")) and getattr(cause, "status", 0) != 404:
            raise OSError(errno.EIO, " ".join(str(cause).split()), name) from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from None
    except OSError as error:
        reason = error.strerror or str(error).strip() or type(error).__name__
        raise OSError(error.errno or errno.EIO, " ".join(reason.split()), name) from error
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        # Each store has its own classes, such as those of botocore and aiohttp.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise OSError(errno.EIO, reason, name) from error


def matches(name: str) -> list[tuple[str, str]]:
    """The files that match a name with glob signs, each with its name relative to the folder before the first sign."""
    if not is_remote(name):
        filesystem, path = place_of(f"file://{os.path.abspath(name)}")  # noqa: PTH100  it must not follow links
    else:
        filesystem, path = place_of(name)
    path = _DEEP.sub(r"**/*\1", path)
    with _as_os_error(name):
        found = filesystem.glob(path, detail=True)
        files = {each for each, info in found.items() if info["type"] == "file"}
        if "**" not in path:
            files.update(*(filesystem.find(each) for each, info in found.items() if info["type"] == "directory"))
    root = _before_signs(path)
    shown = [filesystem.unstrip_protocol(each) if is_remote(name) else _as_given(each, name) for each in sorted(files)]
    return [(full, os.path.relpath(each, root)) for full, each in zip(shown, sorted(files), strict=True)]


def _before_signs(path: str) -> str:
    parts = path.split("/")
    first = next(index for index, part in enumerate(parts) if not _SIGNS.isdisjoint(part))
    return "/".join(parts[:first]) or "/"


def _as_given(path: str, name: str) -> str:
    return path if Path(name).is_absolute() else os.path.relpath(path)


def files_of(name: str) -> list[tuple[str, str]] | None:
    """The files in a folder of a store, each with its name relative to the folder; None if it is a file."""
    filesystem, path = place_of(name)
    with _as_os_error(name):
        if not name.endswith("/") and filesystem.info(path)["type"] == "file":
            return None
        found = filesystem.find(path)
    root = path.rstrip("/")
    inside = sorted(each.removeprefix(root).lstrip("/") for each in found)
    return [(f"{name.rstrip('/')}/{relative}", relative) for relative in inside]


def stamp_of(name: str) -> Stamp | None:
    """The size and the version of a file in a store; None if the store does not know the size. Raises OSError."""
    filesystem, path = place_of(name)
    with _as_os_error(name):
        filesystem.invalidate_cache()
        info = filesystem.info(path)
    version = next((info[key] for key in _VERSIONS if info.get(key) is not None), "")
    return None if info.get("size") is None else (int(info["size"]), str(version).strip('"'))


def opened(name: str, *, seekable: bool) -> StoreFile:
    """Opens a file in a store for reading. On the web, only a table is opened so that it can be read from its end."""
    filesystem, path = place_of(name)
    with _as_os_error(name):
        if name.startswith(("http://", "https://")) and not seekable:
            return StoreFile(name, filesystem.open(path, "rb", block_size=0))
        return StoreFile(name, filesystem.open(path, "rb", block_size=_AHEAD, cache_type="readahead"))


class StoreFile(RawIOBase):
    """A file in a store. It counts the bytes that are read."""

    def __init__(self, name: str, file: Any) -> None:
        self._name = name
        self._file = file
        self.taken: int = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with memoryview(buffer).cast("B") as view, _as_os_error(self._name):
            data = self._file.read(len(view))
            view[: len(data)] = data
        self.taken += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def check_output(name: str) -> None:
    """Raises ImportError and ValueError if a URI cannot be an output."""
    if name.startswith(("http://", "https://")):
        raise ValueError(f"{name}: expected a file, or a URI of a store, as output, found a web address")
    place_of(name)


def base_name(name: str) -> str:
    """The last part of a URI."""
    return PurePosixPath(name).name


def seal_of(name: str, seal: str) -> str:
    """The URI of the state beside an output."""
    return f"{name.rpartition('/')[0]}/{seal}"


def upload(file: Path, name: str) -> None:
    """Puts a file into a store, where it appears when it is whole. Raises OSError."""
    filesystem, path = place_of(name)
    with _as_os_error(name):
        filesystem.put_file(str(file), path)


def write(name: str, data: bytes) -> None:
    """Writes a small file into a store. Raises OSError."""
    filesystem, path = place_of(name)
    with _as_os_error(name):
        filesystem.pipe_file(path, data)


def read(name: str) -> bytes | None:
    """The content of a small file in a store; None if it does not exist. Raises OSError."""
    filesystem, path = place_of(name)
    try:
        with _as_os_error(name):
            return bytes(filesystem.cat_file(path))
    except FileNotFoundError:
        return None


def remove(name: str) -> None:
    """Removes a file from a store, if it is there. Raises OSError."""
    filesystem, path = place_of(name)
    with _as_os_error(name):
        if filesystem.exists(path):
            filesystem.rm_file(path)
