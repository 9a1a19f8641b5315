"""
Where the library runs: refused before anything of it is imported that could not be.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    _MSG = "leadership is not tested on Windows and refuses to elect there: use Linux, or macOS without attested deaths"
    raise ImportError(_MSG)
