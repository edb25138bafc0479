"""The guard: a small process between the exchange and the program it must not outlive.

Run as a script: `guard.py [--remove DIR] PARENT_PID PROGRAM ARGUMENT…`. It starts PROGRAM, writes
its process id as one line to stdout, and then waits for one of three things:

    PROGRAM ends           → the guard ends with the same exit code (128 + n for signal n)
    the guard gets SIGTERM → PROGRAM gets SIGTERM, and after GRACE seconds SIGKILL
    PARENT_PID is gone     → PROGRAM gets SIGKILL at once, and DIR, a temporary folder, is removed

The kernel's own "kill me when my parent dies" (PR_SET_PDEATHSIG) is tied to the *thread* that
forked, so a server started from a short-lived thread would die with that thread. The guard has one
thread, asks for the signal on PROGRAM's behalf, and watches the exchange as a process (pidfd), so it
does not matter who started it. If the guard itself is killed, the kernel kills PROGRAM.

Only the standard library and only what is small: this process stays for as long as the server.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time

GRACE = 30.0
PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends.

    Ends the process at once when `parent` is already gone. Where the kernel has no such call
    (not Linux) nothing is asked for.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _start(program: list[str]) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD})
        die_with_parent(guard)
        os.dup2(2, 1)  # stdout belongs to the guard, to say the process id
        os.execv(program[0], program)  # noqa: S606
    except OSError as fault:
        os.write(2, f"{program[0]}: {fault.strerror}\n".encode())
    os._exit(127)


def _watch(child: int, parent: int) -> int:
    """Wait for the end of the child, forwarding SIGTERM and the parent's death; its exit code."""
    wake_out, wake_in = os.pipe()
    os.set_blocking(wake_in, False)
    signal.set_wakeup_fd(wake_in)
    asked: list[float] = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(time.monotonic()))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD})
    try:
        watched = [wake_out, os.pidfd_open(parent)]
    except (OSError, AttributeError):
        watched = [wake_out]  # an old kernel or a strict sandbox: look at getppid() below
    forwarded = False
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if os.getppid() != parent:
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if asked and not forwarded:
            os.kill(child, signal.SIGTERM)
            forwarded = True
        if asked and time.monotonic() - asked[0] > GRACE:
            os.kill(child, signal.SIGKILL)
        ready, _, _ = select.select(watched, [], [], 0.5 if asked or len(watched) == 1 else 10.0)
        if wake_out in ready:
            os.read(wake_out, 512)


def main(arguments: list[str]) -> int:
    """Start the program of the command line and stay until it ends."""
    remove = ""
    if arguments[0] == "--remove":
        remove, arguments = arguments[1], arguments[2:]
    parent, program = int(arguments[0]), arguments[1:]
    os.setsid()  # a Ctrl-C at the terminal is the exchange's to handle, in its own order
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    child = _start(program)
    os.write(1, f"{child}\n".encode())
    os.close(1)
    code = _watch(child, parent)
    if (
        remove and os.getppid() != parent
    ):  # else the parent removes it, after what it still wants there
        import shutil

        shutil.rmtree(remove, ignore_errors=True)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
