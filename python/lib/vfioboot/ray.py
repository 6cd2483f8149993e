"""Fleets: files of any number, checked by the workers of a Ray cluster.

    import vfioboot.ray

    findings = vfioboot.ray.check_files("s3://configs/", profile="passthrough")
    findings.write_parquet("s3://findings/")

Needs `pip install 'vfioboot[ray]'`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

import vfioboot
from vfioboot import _native

__all__ = ["SCHEMA", "check_files"]

# The columns of `vfioboot.SCHEMA`, after the file that was read and its SHA-256: a container holds several inputs.
_FILE = [pa.field("file", pa.string(), nullable=False), pa.field("file_sha256", pa.string())]
SCHEMA = pa.schema([*_FILE, *vfioboot.SCHEMA])

# Bytes of files that are in memory at once in a worker, unless a single set of files has more.
_AT_ONCE = 64 << 20

Path = str | os.PathLike[str]


def check_files(
    paths: Path | Sequence[Path | Sequence[Path]],
    *,
    profile: str | os.PathLike[str] | vfioboot.Profile = "passthrough",
    config: bytes | None = None,
    modules: Mapping[str, bytes] | None = None,
    cmdline: str | None = None,
    fail_on: str = "required",
    arch: str | None = None,
    kernel_version: str | None = None,
    resume: Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    batch_size: int = 16,
    concurrency: int | None = None,
) -> ray.data.Dataset:
    """Check files, and give a row for each finding, with the columns of `SCHEMA`.

    A path is a file, a directory or a pattern, on disk or anything else that fsspec reads. A sequence of paths among
    `paths` is the set of files of one device. Nothing but names is read before the dataset is used.

    `resume` is Parquet that an earlier run has written, a file or a directory: files that have rows there with the same
    SHA-256, the same options and the same version of vfioboot are left out. It may be missing.
    """
    options = dict(storage_options or {})
    arguments = (vfioboot.read_profile(profile), config, modules, cmdline, fail_on, arch, kernel_version)
    given = _native.Checker(*arguments).given()
    done = _earlier(resume, arguments[0].name, fail_on, given, options) if resume is not None else frozenset()
    sets = [list(files) for files in _sets(paths, options)]
    table = pa.table({"files": pa.array(sets, pa.list_(pa.string()))})
    check = functools.partial(_check_batch, arguments=arguments, done=ray.put(done), options=options)
    return (
        ray.data.from_arrow(table)
        .repartition(max(1, -(-len(sets) // batch_size)))
        .map_batches(check, batch_format="pyarrow", batch_size=batch_size, concurrency=concurrency)
    )


def _sets(paths: Path | Sequence[Path | Sequence[Path]], options: dict[str, Any]) -> Iterator[list[str]]:
    """The sets of files that these paths name."""
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        if not isinstance(path, str | os.PathLike):
            yield [os.fspath(file) for file in path]
            continue
        name = os.fspath(path)
        system, inner = fsspec.core.url_to_fs(name, **options)
        if any(sign in inner for sign in "*?["):
            found = [file for file in system.glob(inner) if system.isfile(file)]
        elif system.isdir(inner):
            found = system.find(inner)
        else:
            yield [name]
            continue
        # local files keep the names that people gave
        local = "file" in system.protocol
        start = f"{pathlib.Path.cwd()}{os.sep}" if local and not pathlib.Path(name).is_absolute() else ""
        for file in sorted(found):
            yield [file.removeprefix(start) if local else system.unstrip_protocol(file)]


def _check_batch(batch: pa.Table, arguments: tuple[Any, ...], done: Any, options: dict[str, Any]) -> pa.Table:
    """The rows of these sets of files."""
    checker = _native.Checker(*arguments)
    left_out: frozenset[bytes] = ray.get(done) if isinstance(done, ray.ObjectRef) else done
    tables = []
    waiting: list[tuple[str, str, dict[str, bytes]]] = []
    for files in batch["files"].to_pylist():
        try:
            contents = {file: _read(file, options) for file in files}
        except OSError as error:
            tables.append(_unreadable(files[0], error, arguments, checker))
            continue
        digest = _digest(contents)
        if _identity(files[0], digest) in left_out:
            continue
        waiting.append((files[0], digest, contents))
        if sum(len(data) for _, _, own in waiting for data in own.values()) > _AT_ONCE:
            tables += _check_all(checker, waiting)
            waiting = []
    tables += _check_all(checker, waiting)
    return pa.concat_tables([SCHEMA.empty_table(), *tables])


def _check_all(checker: _native.Checker, sets: list[tuple[str, str, dict[str, bytes]]]) -> list[pa.Table]:
    tables = []
    for file, digest, contents in sets:
        rows = pa.table(_native.rows(checker.check_each([contents])))
        tables.append(_prefixed(file, digest, rows))
    return tables


def _prefixed(file: str, digest: str | None, rows: pa.Table) -> pa.Table:
    names = pa.array([file] * len(rows), pa.string())
    digests = pa.array([digest] * len(rows), pa.string())
    return pa.Table.from_arrays([names, digests, *rows.columns], schema=SCHEMA)


def _unreadable(file: str, error: OSError, arguments: tuple[Any, ...], checker: _native.Checker) -> pa.Table:
    row = {
        "input": file,
        "outcome": "error",
        "error": f"{type(error).__name__}: {error}",
        "version": vfioboot.__version__,
        "profile": arguments[0].name,
        "fail_on": arguments[4],
        "options": checker.given(),
    }
    return _prefixed(file, None, pa.Table.from_pylist([row], schema=vfioboot.SCHEMA))


def _read(file: str, options: dict[str, Any]) -> bytes:
    with fsspec.open(file, "rb", **options) as opened:
        data: bytes = opened.read()
    return data


def _digest(contents: Mapping[str, bytes]) -> str:
    """The SHA-256 of a file, or of the SHA-256s of several."""
    digests = [hashlib.sha256(data).hexdigest() for data in contents.values()]
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _identity(file: str, digest: str) -> bytes:
    return hashlib.sha256(f"{digest} {file}".encode()).digest()


def _earlier(resume: Path, profile: str, fail_on: str, given: str, options: dict[str, Any]) -> frozenset[bytes]:
    """The files that have rows of the same options."""
    system, path = fsspec.core.url_to_fs(os.fspath(resume), **options)
    if not system.exists(path):
        return frozenset()
    parts = system.find(path) if system.isdir(path) else [path]
    same = {"version": vfioboot.__version__, "profile": profile, "fail_on": fail_on, "options": given}
    filters = [(column, "==", value) for column, value in same.items()]
    done: set[bytes] = set()
    for part in parts:
        if not part.endswith(".parquet"):
            continue
        rows = pq.read_table(part, filesystem=system, columns=["file", "file_sha256"], filters=filters)
        for row in rows.group_by(["file", "file_sha256"]).aggregate([]).to_pylist():
            if row["file_sha256"] is not None:
                done.add(_identity(row["file"], row["file_sha256"]))
    return frozenset(done)
