"""
What is told of a term that lasts until the program ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None))))
trace.set_tracer_provider(provider)
"""
LIBRARY = """
from leadership import Candidate
from leadership.observers import OpenTelemetryObserver
"""
LIFE = """
candidate = Candidate({store!r}, "jobs", node="ann", ttl=5.0, observers=[OpenTelemetryObserver()])
candidate.start()
assert candidate.wait_elected(20.0)
"""


@pytest.mark.parametrize("script", [PROVIDER + LIBRARY + LIFE, LIBRARY + PROVIDER + LIFE])
def test_a_term_that_lasts_until_the_exit_is_told(tmp_path: Path, script: str) -> None:
    """
    A program that ends without a stop resigns before its tracer provider exports for the last time, in whatever order
    the two were imported.
    """
    script = script.replace("{store!r}", repr(f"sqlite:///{tmp_path}/jobs.db"))
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=50)
    assert (0, "") == (done.returncode, done.stderr)
    span = json.loads(done.stdout)
    assert ("leadership.term", "stopped") == (span["name"], span["attributes"]["leadership.cause"])
