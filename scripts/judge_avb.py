#!/usr/bin/env python3
"""judge_avb.py AVBTOOL VFIOBOOT [--update]: make the images of fixtures/avb/cases.tsv, ask AOSP's avbtool
and vfioboot about each case, and compare both with the table. --update writes avbtool's answers into it.

A case whose id starts with `stricter-` is one that avbtool grants and vfioboot does not, on purpose.
"""

import gzip
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures"
TABLE = FIXTURES / "avb/cases.tsv"
KEYS = ("2048", "4096", "8192")
VERIFIED = ("not verified", "verified")


def source(name: str) -> bytes:
    """A fixture: one of fixtures/avb, or the path of another."""
    if "/" in name:
        return (FIXTURES / f"{name}.img").read_bytes()
    return gzip.decompress((FIXTURES / f"avb/{name}.img.gz").read_bytes())


def made(recipe: str) -> bytes:
    """SOURCE[,EDIT@NUMBER…]: flip a bit at an offset (from the end if it is negative), cut, pad with zeros."""
    name, *edits = recipe.split(",")
    data = bytearray(source(name))
    for edit in edits:
        what, number = edit.split("@")
        if what == "flip":
            data[int(number)] ^= 0x10
        elif what == "cut":
            del data[int(number) :]
        elif what == "pad":
            data.extend(bytes(max(0, int(number) - len(data))))
        else:
            sys.exit(f"{TABLE.name}: {edit}: not an edit")
    return bytes(data)


def avbtool(command: list[str], arguments: str, cwd: Path) -> bool:
    """Whether every one of these commands, joined by &&, ends with 0."""
    for part in arguments.split(" && "):
        run = subprocess.run([*command, *shlex.split(part)], cwd=cwd, capture_output=True, check=False)
        if run.returncode:
            return False
    return True


def reason(vfioboot: str, arguments: str, cwd: Path) -> str:
    """Why vfioboot does not verify the first such image; `-` if it verifies them."""
    command = [vfioboot, "verify", "--json", *shlex.split(arguments)]
    run = subprocess.run(command, cwd=cwd, capture_output=True, check=False, text=True)
    if run.returncode not in (0, 1):
        return f"status {run.returncode}: {run.stderr.strip()}"
    reasons = [image["reason"]["kind"] for image in json.loads(run.stdout)["images"] if image["reason"]]
    return reasons[0] if reasons else "-"


def main() -> int:
    tool, vfioboot = str(Path(sys.argv[1]).resolve()), str(Path(sys.argv[2]).resolve())
    update = sys.argv[3:] == ["--update"]
    command = [sys.executable, tool] if tool.endswith(".py") else [tool]
    version = subprocess.run([*command, "version"], capture_output=True, check=True, text=True).stdout.strip()
    lines = TABLE.read_text().splitlines()
    lines[0] = f"# {version}" if update else lines[0]
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        for bits in KEYS:
            pem, public = Path(name) / f"{bits}.pem", Path(name) / f"{bits}.bin"
            pem.write_bytes((FIXTURES / f"avb/testkey_rsa{bits}.pem").read_bytes())
            extract = ["extract_public_key", "--key", str(pem), "--output", str(public)]
            subprocess.run([*command, *extract], check=True, capture_output=True)
        for number, line in enumerate(lines[2:], 2):
            case, files, verify, judged, verdict, why = line.split("\t")
            with tempfile.TemporaryDirectory(dir=name) as scratch:
                cwd = Path(scratch)
                for key in Path(name).glob("*.???"):
                    (cwd / key.name).write_bytes(key.read_bytes())
                for file in files.split(" "):
                    target, recipe = file.split("=")
                    (cwd / target).write_bytes(made(recipe))
                says, found = VERIFIED[avbtool(command, judged, cwd)], reason(vfioboot, verify, cwd)
            if update:
                verdict = says
                lines[number] = "\t".join((case, files, verify, judged, says, why))
            agrees = (found == "-") == (says == "verified") or case.startswith("stricter-")
            right = (says, found) == (verdict, why) and agrees
            print(f"{'ok  ' if right else 'FAIL'} avbtool {case}: {says}, vfioboot: {found}")
            wrong += not right
    if update:
        TABLE.write_text("\n".join(lines) + "\n")
    print(f"judge-avb: {version}, {len(lines) - 2} cases, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
