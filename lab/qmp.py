"""QEMU's machine protocol (docs/interop/qmp-spec.txt), as much of it as plugging in a device takes."""

import contextlib
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

_TIMEOUT = 30


class Refused(OSError):
    """QEMU does not do what it was told."""


class Channel:
    """A connection to a QEMU that is not started yet."""

    def __init__(self, ours: socket.socket, theirs: socket.socket) -> None:
        self._lines = ours.makefile("rwb", buffering=0)
        self._theirs = theirs
        self._greeted = False
        # a pair of sockets: a path in a deep directory is too long for one
        self.arguments = ["-chardev", f"socket,id=qmp,fd={theirs.fileno()}", "-mon", "chardev=qmp,mode=control"]
        self.pass_fds = (theirs.fileno(),)

    def handed_over(self) -> None:
        """QEMU has its end now: without ours of it, its death shows."""
        self._theirs.close()

    def _call(self, command: str, arguments: Mapping[str, Any]) -> None:
        message = {"execute": command, "arguments": dict(arguments)}
        self._lines.write(json.dumps(message).encode() + b"\n")
        # in between there may be the greeting and events
        for line in self._lines:
            answer = json.loads(line)
            if "error" in answer:
                raise Refused(f"QEMU: {command}: {answer['error'].get('desc')}")
            if "return" in answer:
                return
        raise Refused(f"QEMU: {command}: it ended before it answered")

    def execute(self, command: str, arguments: Mapping[str, Any]) -> None:
        """Carry out a command. Raises `Refused`."""
        if not self._greeted:
            self._call("qmp_capabilities", {})
            self._greeted = True
        self._call(command, arguments)


@contextlib.contextmanager
def channel() -> Iterator[Channel]:
    """For one run of QEMU."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(_TIMEOUT)
        yield Channel(ours, theirs)
