"""
What can be said of a database's path before anything starts.
"""

from __future__ import annotations

import contextlib
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
    problem = _problem_of_place(path) or _problem_of_file(path)
    if problem is not None:
        raise ConfigError(problem)
    return path


def _problem_of_place(path: str) -> str | None:
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        return f"{path} is a directory: name a file in it, such as {os.path.join(path, 'leadership.db')}"
    if not os.path.isdir(folder):
        return f"the folder {folder} of the database {path} does not exist or cannot be reached: make it first"
    system = network_file_system(folder)
    if system is not None:
        return (
            f"{path} is on a network file system ({system}), where SQLite's log cannot be shared: name a local file,"
            " or use a store that serves many machines (consul, etcd, zookeeper)"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} cannot be written, and SQLite keeps its log beside {path}: change its permissions"
    return None


def _problem_of_file(path: str) -> str | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a regular file: name one"
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


def network_file_system(folder: str, mounts: str = "/proc/self/mountinfo") -> str | None:
    """
    The type of the network file system that a folder is on; None for a local one, or where the system does not tell.
    """
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError:
        return None
    best, found = -1, ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = _unescaped(fields.split(" ")[4])
        within = folder == point or folder.startswith(point.rstrip("/") + "/")
        if within and len(point) >= best:  # of two at one place, the later hides the earlier
            best, found = len(point), rest.split(" ")[0]
    return found if found in NETWORK else None


def _unescaped(field: str) -> str:
    """
    The kernel writes a space, tab, newline and backslash as octal numbers.
    """
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field
