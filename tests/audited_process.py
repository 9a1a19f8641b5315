"""
A process of its own that stands in several elections, each with an audit of its own; it takes commands, one a line.

Run as a script: `audited_process.py URL FOLDER NODE ELECTIONS TTL`.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from leadership import AuditLog, Candidate, connect


class AuditedProcess:
    """
    Such a process, for a test.
    """

    def __init__(self, database: Path, folder: Path, node: str, elections: int, ttl: float) -> None:
        self.node = node
        arguments = [f"sqlite:///{database}", str(folder), node, str(elections), str(ttl)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, command: str) -> str:
        """
        Have it do something, and wait until it says so.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        """
        Send it a signal.
        """
        self.process.send_signal(number)

    def close(self) -> None:
        """
        End it, whatever state it is in.
        """
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def main() -> None:
    url, folder, node, elections, ttl = sys.argv[1:]
    store = connect(url)
    candidates: list[Candidate] = []
    audits: list[AuditLog] = []
    for number in range(int(elections)):
        audit = AuditLog(Path(folder) / f"orders-{number}" / f"{node}.jsonl", chain=number % 2 == 0)
        candidate = Candidate(
            store, f"orders-{number}", node=node, ttl=float(ttl), cool_down=0.05, log=False, observers=[audit]
        )
        audits.append(audit)
        candidates.append(candidate)
    for line in sys.stdin:
        match line.strip():
            case "start":
                for candidate in candidates:
                    candidate.start()
            case "resign":  # every second election
                for candidate in candidates[::2]:
                    candidate.resign("drill", timeout=0.0)
            case "stop":
                for candidate in candidates:
                    candidate.stop(timeout=0.0)
                for candidate in candidates:
                    candidate.stop()
                for audit in audits:
                    audit.close()
        leads = sum(candidate.is_leader for candidate in candidates)
        print(leads, flush=True)


if __name__ == "__main__":
    main()
