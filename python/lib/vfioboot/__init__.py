"""Boot images and kernels: what they hold, and whether they can pass PCI devices through to a guest.

`check` judges the images of one device, like `vfioboot check`; `BootImage` reads one image. Both work on bytes, and
neither holds the interpreter's lock while it works. `vfioboot.ray` checks fleets of files with Ray.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfioboot import _native
from vfioboot._native import (
    ArchitectureError,
    BootImage,
    ConfigError,
    ContainerError,
    Error,
    FileError,
    Finding,
    ImageError,
    KernelError,
    ModulesError,
    Profile,
    ProfileError,
    RamdiskEntry,
    RamdiskError,
    Report,
    Rows,
    Section,
    __version__,
)

if TYPE_CHECKING:
    import pyarrow

    # The columns of the rows: one row for each finding.
    SCHEMA: pyarrow.Schema

__all__ = [
    "SCHEMA",
    "ArchitectureError",
    "BootImage",
    "ConfigError",
    "ContainerError",
    "Error",
    "FileError",
    "Finding",
    "ImageError",
    "KernelError",
    "ModulesError",
    "Profile",
    "ProfileError",
    "RamdiskEntry",
    "RamdiskError",
    "Report",
    "Rows",
    "Section",
    "__version__",
    "check",
    "check_each",
    "read_profile",
    "rows",
    "rules",
]

Modules = Mapping[str, bytes] | str | os.PathLike[str] | list[str | os.PathLike[str]]


def read_profile(profile: str | os.PathLike[str] | Profile) -> Profile:
    """The built-in profile of this name, or the one in this TOML file."""
    if isinstance(profile, Profile):
        return profile
    path = Path(profile)
    if isinstance(profile, str) and not path.exists():
        return Profile(profile)
    return Profile(os.fspath(profile), path.read_text(encoding="utf-8"))


def check(
    images: Mapping[str, bytes],
    *,
    profile: str | os.PathLike[str] | Profile = "passthrough",
    config: bytes | None = None,
    modules: Modules | None = None,
    cmdline: str | None = None,
    fail_on: str = "required",
    arch: str | None = None,
    kernel_version: str | None = None,
) -> Report:
    """Check the images of one device: boot images, bare kernels, configs, and containers with them, by name.

    Raises a subclass of `Error` when they cannot be checked.
    """
    checker = _native.Checker(read_profile(profile), config, modules, cmdline, fail_on, arch, kernel_version)
    return checker.check(images)


def check_each(
    sets: Iterable[Mapping[str, bytes]],
    *,
    profile: str | os.PathLike[str] | Profile = "passthrough",
    config: bytes | None = None,
    modules: Modules | None = None,
    cmdline: str | None = None,
    fail_on: str = "required",
    arch: str | None = None,
    kernel_version: str | None = None,
) -> list[Report]:
    """Check several sets of images, each like `check`, and each kernel in a container by itself.

    What cannot be checked has a report with its `error`, as the command line has a line for it.
    """
    checker = _native.Checker(read_profile(profile), config, modules, cmdline, fail_on, arch, kernel_version)
    return checker.check_each(list(sets))


def rows(reports: Iterable[Report]) -> Rows:
    """The findings of these reports as Arrow rows: `pyarrow.table(rows(reports))`, or any other library for Arrow."""
    return _native.rows(list(reports))


def rules(profile: str | os.PathLike[str] | Profile = "passthrough") -> list[dict[str, str]]:
    """The rules of a profile, which rows name by their ids: `id`, `title`, `level`, `why`, `effect`, `fix`."""
    found: list[dict[str, str]] = json.loads(read_profile(profile).to_json())["rules"]
    return found


def __getattr__(name: str) -> Any:
    # pyarrow is needed only by those who ask for its schema
    if name != "SCHEMA":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pyarrow  # noqa: PLC0415

    schema = pyarrow.schema(_native._schema)
    globals()["SCHEMA"] = schema
    return schema
