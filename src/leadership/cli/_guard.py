"""
The guard: a small process between `leadership run` and CMD, whose parent it is.

Law 1: CMD never outlives its term, whatever becomes of `leadership run`. When the guard's pipe from it ends (it was
killed), or the last deadline that it was told passes (it was frozen, or cut off from the store), the guard kills CMD
and everything that descends from it.
Law 2: the guard ends after the last of them. A store that attests the death of a holder by an open descriptor sees the
holder alive until then, because the guard has inherited that descriptor; CMD has not.
Law 3: if the guard itself is killed, the kernel kills CMD (Linux).

It runs by its file name under `python -I -S` and imports nothing heavy, so that it is there within milliseconds. Its
session is its own: what stops or interrupts the group of `leadership run` does not reach it. Signals are not for it.

Over the control pipe come lines: `D t` (the deadline is now t), `E t` (end: SIGTERM now, SIGKILL at t), `S n` (pass
signal n on). Over the status pipe go: `P pid` (CMD runs), `F errno` (it could not be executed), `X status why` (CMD
ended with this wait status, and nothing of it is left; or it was not begun, where why is `never`). Times are absolute,
on the clock of deadlines.

Limits: outside Linux a descendant that left CMD's group is not found. What runs as another user cannot be killed.
"""

import os
import select
import signal
import sys
import time

LINUX = sys.platform == "linux"
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
LONGEST_PAUSE = 0.25
"""Seconds: a timer does not run while the machine is suspended, and the deadline does."""
KILL_AGAIN = 0.02
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def now() -> float:
    """
    Seconds on the clock of deadlines.
    """
    return time.clock_gettime(CLOCK)


def control_process(option: int, value: int) -> None:
    """
    `prctl` of the present process; does nothing outside Linux.
    """
    if LINUX:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(option, value, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"prctl({option}): {os.strerror(number)}")


def descendants(ancestor: int) -> list[tuple[int, int]]:
    """
    (pid, process group) of every process that descends from one; empty outside Linux.
    """
    children: dict[int, list[tuple[int, int]]] = {}
    for name in os.listdir("/proc") if LINUX else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue  # it has ended meanwhile, or is hidden from us and hence not ours
            children.setdefault(int(fields[1]), []).append((int(name), int(fields[2])))
    found = list(children.get(ancestor, ()))
    for pid, _ in found:  # grows while it is walked
        found.extend(children.get(pid, ()))
    return found


def send(signum: int, pid: int, *, group: bool = False) -> None:
    """
    Signal a process or a group; one that has ended, or that is another user's, is left alone.
    """
    try:
        (os.killpg if group else os.kill)(pid, signum)
    except (ProcessLookupError, PermissionError):
        return


def _wake_up(_number: int, _frame: object) -> None:
    """
    For a signal whose news travels over the wake-up descriptor.
    """


class Guard:
    """
    One run of CMD.
    """

    def __init__(self, control: int, status: int, deadline: float, notice: float, grace: float) -> None:
        """
        Args:
            control: Descriptor that lines are read from.
            status: Descriptor that lines are written to.
            deadline: When CMD must be dead unless a later deadline is told.
            notice: Seconds before the deadline at which CMD is told to end if no later one has come.
            grace: Seconds for what CMD leaves behind when it ends by itself.
        """
        self.control, self.status = control, status
        self.deadline, self.notice, self.grace = deadline, notice, grace
        self.pid = 0
        self.wait_status: int | None = None
        self.kill_at: float | None = None
        self.why = "told"
        self.told = False
        self._early: list[str] = []
        """Signals for CMD that came before it was there."""
        self._pending = b""
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)
        self.wake, wake_end = os.pipe()
        for end in (self.wake, wake_end):
            os.set_blocking(end, False)
        self.poll.register(self.wake, select.POLLIN)
        self.ignored = {number for number in PASSED_ON if signal.getsignal(number) is signal.SIG_IGN}
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGCHLD, _wake_up)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        control_process(PR_SET_CHILD_SUBREAPER, 1)

    def run(self, command: list[str]) -> None:
        """
        Run CMD, and return when nothing of it is left.
        """
        self._listen(0.0)  # the term may have ended while Python was starting
        if self.kill_at is None and now() < self.deadline - self.notice:
            self._spawn(command)
            for line in self._early:
                self._obey(line)
        while self.pid and self._something_lives():
            moment = now()
            if self.kill_at is None and moment >= self.deadline - self.notice:
                self._end("overdue", self.deadline)
            if self.kill_at is None:
                pause = self.deadline - self.notice - moment
            elif moment < self.kill_at:
                pause = self.kill_at - moment
            else:
                self._signal(signal.SIGKILL)
                pause = KILL_AGAIN
            self._listen(min(max(pause, 0.0), LONGEST_PAUSE))
        self._say(f"X {self.wait_status} {self.why}" if self.pid else "X 0 never")

    def _spawn(self, command: list[str]) -> None:
        report, child_end = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(command, parent, child_end)
        os.close(child_end)
        # Until it has become CMD it is in no group of its own. An execution that hangs is killed at the deadline.
        if select.select([report], [], [], max(0.0, self.deadline - now()))[0]:
            failure = os.read(report, 16)
            self._say(f"F {failure.decode()}" if failure else f"P {self.pid}")
        os.close(report)

    def _become(self, command: list[str], parent: int, report: int) -> None:
        """
        In the forked child: turn into CMD, or say why not.
        """
        try:
            os.setsid()
            control_process(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the kernel was told what to do then
                os._exit(1)
            signal.set_wakeup_fd(-1)
            for number in (*PASSED_ON, *IGNORED_BY_PYTHON):
                signal.signal(number, signal.SIG_IGN if number in self.ignored else signal.SIG_DFL)
            os.execvp(command[0], command)
        except OSError as error:
            os.write(report, str(error.errno).encode())
        finally:
            os._exit(127)

    def _something_lives(self) -> bool:
        """
        Reap what has ended; say whether anything is left.
        """
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return not LINUX and self._group_lives()  # orphans become ours on Linux: none is left
            if pid == 0:
                return True
            if pid == self.pid:
                self.wait_status = wait_status
                self._left_behind()

    def _group_lives(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _left_behind(self) -> None:
        """
        CMD is gone: what it has left behind is told to end, once.
        """
        for pid, group in descendants(os.getpid()):
            if not (self.told and group == self.pid):
                send(signal.SIGTERM, pid)
        if not LINUX and not self.told:
            send(signal.SIGTERM, self.pid, group=True)
        if self.kill_at is None:
            self.why, self.told = "itself", True
            self.kill_at = min(now() + self.grace, self.deadline)

    def _end(self, why: str, kill_at: float) -> None:
        if self.kill_at is None:
            self.why = why
        self.kill_at = min(kill_at, self.deadline, self.deadline if self.kill_at is None else self.kill_at)
        if not self.told and kill_at > now():
            self.told = True
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)  # a stopped process could not heed it

    def _signal(self, signum: int) -> None:
        """
        Signal the group; at the last also whatever has left it.
        """
        if self.wait_status is None and self.pid:  # not reaped: its number cannot have become another's
            send(signum, self.pid, group=True)
        if signum == signal.SIGKILL:
            if not LINUX:
                send(signum, self.pid, group=True)
            for pid, _ in descendants(os.getpid()):
                send(signum, pid)

    def _listen(self, pause: float) -> None:
        for descriptor, _ in self.poll.poll(pause * 1000):
            if descriptor == self.wake:
                os.read(self.wake, 4096)
                continue
            data = os.read(self.control, 4096)
            if not data:
                self.poll.unregister(self.control)
                self._end("orphaned", 0.0)
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                self._obey(line.decode())

    def _obey(self, line: str) -> None:
        kind, value = line.split()
        if kind == "D":
            self.deadline = float(value)
        elif kind == "E":
            self._end("told", float(value))
        elif kind == "S" and not self.pid:
            self._early.append(line)
        elif kind == "S":
            self.told = self.told or int(value) in (signal.SIGTERM, signal.SIGINT)
            self._signal(int(value))

    def _say(self, line: str) -> None:
        try:
            os.write(self.status, f"{line}\n".encode())
        except BrokenPipeError:
            return  # nobody is left to hear it


def main(argv: list[str]) -> None:
    """
    Run as `_guard.py CONTROL,STATUS[,HELD…] DEADLINE NOTICE GRACE CMD…`.
    """
    descriptors = [int(number) for number in argv[1].split(",")]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - CMD gets none of them
    deadline, notice, grace = map(float, argv[2:5])
    Guard(descriptors[0], descriptors[1], deadline, notice, grace).run(argv[5:])


if __name__ == "__main__":
    main(sys.argv)
