"""
The library's own judge of audits, asked about all audits of a stage.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from leadership.audit import Verdict, verify


def judge_audits(folder: Path, *, held: bool) -> None:
    """
    Judge the audits of a stage, and keep what was said beside them.

    Args:
        folder: The stage's.
        held: Whether an invalid audit is a failure of the run.
    """
    judgement = verify(sorted((folder / "audit").iterdir()), spans=False)
    told = {
        "verdict": judgement.verdict.value,
        "held": held,
        "records": judgement.records,
        "files": judgement.files,
        "kinds": Counter(finding.kind for finding in judgement.findings),
        "findings": [each.as_dict() for each in judgement.findings if each.verdict is not Verdict.VALID],
    }
    (folder / "audits.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
