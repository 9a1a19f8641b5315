"""
What can be said of a database's path before anything starts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat

from leadership.backends import _sqlite_fork as fork
from leadership.backends._sqlite_database import complaint
from leadership.errors import ConfigError

NETWORK = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "fuse.")
    for name in (
        *("9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "curlftpfs", "davfs", "gcsfuse", "gfs2", "glusterfs"),
        *("gpfs", "lustre", "mfs", "moosefs", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "pvfs2", "rclone", "s3fs"),
        *("smb3", "smbfs", "smbnetfs", "sshfs"),
    )
)
"""
File systems that several machines may share.
"""

MOUNTS = "/proc/self/mountinfo"


def check_path(path: object) -> str:
    """
    The absolute path of a usable database, or of one that can be made.

    Raises:
        ConfigError: It cannot be used; the message says why, and what to do.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        msg = f"the path of an SQLite store must be text and not empty, not {path!r}: write sqlite:///path"
        raise ConfigError(msg)
    if path == ":memory:":
        msg = "sqlite keeps a ':memory:' database for one connection, where nobody can meet: use memory://"
        raise ConfigError(msg)
    path = os.path.realpath(path)
    problem = _problem_of_name(path) or _problem_of_place(path) or _problem_of_file(path)
    if problem is not None:
        raise ConfigError(problem)
    return path


def _problem_of_name(path: str) -> str | None:
    if any("\ud800" <= character <= "\udfff" for character in path):
        return f"the path {path!r} is not UTF-8, so that no URL can name it: rename the file or its folder"
    try:
        os.stat(f"{path}-journal")  # SQLite's own files beside it have the longest names
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return f"{path} cannot be looked at: {error.strerror}: name another file"
    return None


def _problem_of_place(path: str) -> str | None:
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        return f"{path} is a directory: name a file in it, such as {os.path.join(path, 'leadership.db')}"
    if not os.path.isdir(folder):
        return f"the folder {folder} of the database {path} does not exist or cannot be reached: make it first"
    system = network_file_system(folder)
    if system is not None:
        return (
            f"{path} is on a network file system ({system}), where SQLite's log cannot be shared by machines:"
            " name a local file"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} cannot be written, and SQLite keeps its log beside {path}: change its permissions"
    return None


def _problem_of_file(path: str) -> str | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}: name another file"
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a regular file: name one"
    if status.st_nlink > 1:
        return f"{path} has {status.st_nlink} hard links, and SQLite keeps a log beside each name: leave one"
    if is_mount_point(path):
        return f"{path} is mounted by itself, and SQLite keeps its log beside it: mount its folder"
    if not os.access(path, os.R_OK | os.W_OK):
        return f"{path} cannot be read and written: change its permissions, or name another file"
    if fork.is_unusable(path):
        return (
            f"{path} was in use while this process was forked, and SQLite cannot open it here: start the process by"
            " spawn or exec, or fork before the store is used"
        )
    return _inspect(path) if status.st_size else None


def _inspect(path: str) -> str | None:
    """
    Look into the file, by SQLite itself: to open and close it otherwise would drop this process's locks on it.
    """
    try:
        with fork.quiet, contextlib.closing(sqlite3.connect(path, timeout=0)) as connection:
            return complaint(connection, path)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            return f"{path} is not an SQLite database: name another file, or move it away"
        return None  # it is busy or out of order, which may pass: the first call will tell


def is_mount_point(path: str, mounts: str = MOUNTS) -> bool:
    """
    Whether a file is mounted by itself, as containers do; False where the system does not tell.
    """
    return any(point == path for point, _ in _mounts(mounts))


def _mounts(mounts: str) -> list[tuple[str, str]]:
    """
    Each mount point, and the type of what is mounted there.
    """
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            parts = [line.partition(" - ") for line in file]
    except OSError:
        return []
    return [(_unescaped(fields.split(" ")[4]), rest.split(" ")[0]) for fields, _, rest in parts]


def network_file_system(folder: str, mounts: str = MOUNTS) -> str | None:
    """
    The type of the network file system that a folder is on; None for a local one, or where the system does not tell.
    """
    best, found = -1, ""
    for point, kind in _mounts(mounts):
        within = folder == point or folder.startswith(point.rstrip("/") + "/")
        if within and len(point) >= best:  # of two at one place, the later hides the earlier
            best, found = len(point), kind
    return found if found in NETWORK else None


def _unescaped(field: str) -> str:
    """
    The kernel writes a space, tab, newline and backslash as octal numbers.
    """
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
