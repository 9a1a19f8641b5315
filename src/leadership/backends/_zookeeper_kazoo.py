"""
The parts of kazoo that are used here, as what they are to a type checker: anything.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

client: Any = import_module("kazoo.client")
exceptions: Any = import_module("kazoo.exceptions")
security: Any = import_module("kazoo.security")
serialization: Any = import_module("kazoo.protocol.serialization")
states: Any = import_module("kazoo.protocol.states")
retry: Any = import_module("kazoo.retry")
threading: Any = import_module("kazoo.handlers.threading")
