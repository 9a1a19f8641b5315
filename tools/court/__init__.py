"""
A court for elections: processes that stand, faults that are injected, witnesses that do not trust them, and a judge.

`python -m court` runs rounds and prints the scorecard (`make faults`), `python -m court.summary FOLDER` prints that of
an earlier run, `python -m court.judge FOLDER` judges its evidence again. docs/faults.md tells what is judged.
"""

from __future__ import annotations
