"""QEMU's machine protocol (docs/interop/qmp-spec.txt), as far as the lab needs it."""

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

_TIMEOUT = 30


class Refused(OSError):
    """QEMU refuses a command."""


class Channel:
    """A connection to a QEMU that is started later."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self._lines = ours.makefile("rwb", buffering=0)
        self._theirs = theirs
        self._greeted = False
        # a pair of sockets: a path in a deep directory is too long for one
        self.arguments = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
        self.pass_fds = (theirs.fileno(),)

    def handed_over(self) -> None:
        """Close our copy of QEMU's end, so that its exit is detected."""
        self._theirs.close()

    def _call(self, command: str, arguments: Mapping[str, Any]) -> Any:
        message = {"execute": command, "arguments": dict(arguments)}
        self._lines.write(json.dumps(message).encode() + b"\n")
        # the greeting and events may come before the answer
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer:
                raise Refused(f"QEMU: {command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return answer["return"]
        raise Refused(f"QEMU: {command}: it ended before it answered")

    def execute(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Execute a command; returns its answer. Raises `Refused`."""
        if not self._greeted:
            self._call("qmp_capabilities", {})
            self._greeted = True
        return self._call(command, arguments)


@contextlib.contextmanager
def channel() -> Iterator[Channel]:
    """A channel for one run of QEMU."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(_TIMEOUT)
        yield Channel(ours, theirs)
