"""Deterministic newc archives for the kernel, made without root."""

import stat
from pathlib import Path


class Archive:
    """A cpio archive; every entry is owned by root and has the time 0."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._inode = 0

    def _entry(self, name: str, mode: int, data: bytes = b"") -> None:
        self._inode += 1
        path = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self._inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(path), 0)
        self._bytes += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        self._pad()
        self._bytes += data
        self._pad()

    def _pad(self) -> None:
        self._bytes += bytes(-len(self._bytes) % 4)

    def directory(self, name: str) -> None:
        self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def tree(self, root: Path) -> None:
        """The directories and files below `root`, without symbolic links."""
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_symlink():
                continue
            if path.is_dir():
                self.directory(name)
            else:
                self.file(name, path.read_bytes())

    def finish(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        return bytes(self._bytes)
