"""
`python -m leadership` is the command `leadership`.
"""

from __future__ import annotations

import sys

from leadership.cli import main

if __name__ == "__main__":
    sys.exit(main())
