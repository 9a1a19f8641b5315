"""
What every test may rely on.
"""

from __future__ import annotations

import signal

# Under nohup, and under some CI runners, SIGHUP is ignored, and children inherit that: their tests send it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
