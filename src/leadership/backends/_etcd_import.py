"""
Imports python-etcd3 beside whatever protobuf the host has.

Its generated modules are older than protobuf 4, which refuses them: "Descriptors cannot be created directly". Their
message definitions are sound, though, as bytes within the installed files. They are loaded into a descriptor pool of
their own, so that nothing is pinned, no environment variable is set, and no other etcd client or generated module of
the process can collide with them; then the package is imported on top of them.

Only messages and stubs of the package are used.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import threading
from types import ModuleType
from typing import Any, Final

from leadership.errors import ConfigError

INSTALL: Final = "pip install leadership[etcd]"
_FILES: Final = ("kv", "auth", "rpc")  # each may refer to those before it
_lock = threading.Lock()


def load() -> tuple[Any, Any]:
    """
    The modules `grpc` and `etcd3.etcdrpc`.

    Raises:
        ConfigError: They are not installed, or something else is installed by that name.
    """
    with _lock:
        try:
            grpc = importlib.import_module("grpc")
            if "etcd3.etcdrpc" not in sys.modules:
                _prepare()
            return grpc, importlib.import_module("etcd3.etcdrpc")
        except ImportError as error:
            msg = f"etcd:// needs python-etcd3 and grpcio, and {error}: {INSTALL}"
            raise ConfigError(msg) from error


def _prepare() -> None:
    """
    Put modules with the messages where the package looks for its generated ones.
    """
    spec = importlib.util.find_spec("etcd3")
    folders = None if spec is None else spec.submodule_search_locations
    if not folders:
        msg = "No module named 'etcd3'"
        raise ImportError(msg)
    made = build(os.path.join(folders[0], "etcdrpc"))
    sys.modules.update(made)
    try:
        importlib.import_module("etcd3")
    except BaseException:
        for name in made:
            sys.modules.pop(name, None)
        raise


def build(folder: str) -> dict[str, ModuleType]:
    """
    Modules with the messages and enumerations that the generated files in a folder describe, by full name.
    """
    pools: Any = importlib.import_module("google.protobuf.descriptor_pool")
    descriptors: Any = importlib.import_module("google.protobuf.descriptor_pb2")
    factories: Any = importlib.import_module("google.protobuf.message_factory")
    wrappers: Any = importlib.import_module("google.protobuf.internal.enum_type_wrapper")
    pool = pools.DescriptorPool()
    if hasattr(factories, "GetMessageClass"):
        make = factories.GetMessageClass
    else:  # protobuf before 4.22
        make = factories.MessageFactory(pool).GetPrototype
    modules: dict[str, ModuleType] = {}
    for file in _FILES:
        described = descriptors.FileDescriptorProto.FromString(_serialized(os.path.join(folder, f"{file}_pb2.py")))
        pool.Add(described)
        found: Any = pool.FindFileByName(described.name)
        module = ModuleType(f"etcd3.etcdrpc.{file}_pb2", f"The messages of {described.name}, in a pool of their own.")
        module.__dict__["DESCRIPTOR"] = found
        for name, message in found.message_types_by_name.items():
            module.__dict__[name] = make(message)
        for name, kind in found.enum_types_by_name.items():
            module.__dict__[name] = wrappers.EnumTypeWrapper(kind)
            module.__dict__.update({value.name: value.number for value in kind.values})
        modules[module.__name__] = module
    return modules


def _serialized(path: str) -> bytes:
    """
    The description of a file of messages, as it stands in the module that was generated from it.
    """
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read(), path)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.keyword) and node.arg == "serialized_pb"):
            continue
        value = node.value.args[0] if isinstance(node.value, ast.Call) else node.value
        literal = value.value if isinstance(value, ast.Constant) else None
        if isinstance(literal, str):
            return literal.encode("latin-1")
        if isinstance(literal, bytes):
            return literal
    msg = f"{path} is not python-etcd3's (another package owns its name)"
    raise ImportError(msg)
