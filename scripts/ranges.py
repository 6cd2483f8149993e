#!/usr/bin/env python3
"""Compare the rules with kernels: every since and until, every setting, and the tables of modules, of
parts of modules and of initcalls.

    ranges.py [--tree VERSION=DIR]... [--git DIR] [--configs DIR]... [--image CONFIG=NAMES]...

--tree    a kernel's source: what its Kconfig files declare, what its Makefiles build
--git     a kernel's history: the same of every release that has a tag v4.9 or later
--configs directories with .config files: what they mention exists in their version
--image   a config with a file that lists modules (one path a line) and modules.builtin of that kernel

The last line says how much was compared. Exit status 1 if anything differs.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "kernel-configs"
PROFILES = ["passthrough", "kvm-only", "hardened"]
# Kconfig files and Makefiles of these places decide; elsewhere the same names mean other things.
PLACES = re.compile(
    r"^(arch/(arm64|x86)|block|crypto|drivers|fs|init|kernel|lib|mm|net|security|usr|virt)/"
    r"|^Kconfig|^kernel/|^init/"
)
DECLARED = re.compile(r"^\s*(?:menu)?config\s+(\w+)", re.MULTILINE)
BUILT = re.compile(r"^([\w-]+)-(?:\$\(CONFIG_(\w+)\)|y|objs)\s*[:+]?=\s*(.*)$", re.MULTILINE)
STARTS = re.compile(r"^(?:module_init|\w+_initcall(?:_sync)?)\s*\(\s*(\w+)\s*\)", re.MULTILINE)
DRIVERS = re.compile(
    r"^(?:module|builtin)_(?:platform_driver|pci_driver|virtio_driver|driver)\s*\(\s*(\w+)",
    re.MULTILINE,
)
PROMPT = re.compile(r'^\s*(?:(?:bool|tristate|string|int|hex)\s+"|prompt\s)', re.MULTILINE)
TRISTATE = re.compile(r"^\s*(?:def_)?tristate\b", re.MULTILINE)
# Not of the kernel, but of Android's or of vendors' kernels.
FOREIGN = {"PCI_MSM", "MODULE_SIG_PROTECT", "PCIE_DW_ROCKCHIP"}
# Wanted built in only, whatever its module is called.
BUILT_IN = {"IKCONFIG"}
# Names that a kernel which is older than this cannot have.
NEWER = {
    "PCIE_AMD_MDB": (6, 15),
    "PCIE_NXP_S32G": (6, 19),
    "PCIE_RENESAS_RZG3S_HOST": (6, 19),
    "PCIE_STM32_HOST": (6, 18),
    "PCI_SKY1_HOST": (6, 19),
    "vt_init": (6, 16),
}
# Names that a kernel from this one on does not have.
GONE = {"KVM_ARM_PMU": (5, 14), "PCIE_RCAR": (5, 8)}

Version = tuple[int, ...]


def version(text: str) -> Version:
    """6.12.3-rc1 as (6, 12): rules count by series."""
    numbers = re.findall(r"\d+", text)
    return tuple(int(number) for number in numbers[:2])


def shown(number: Version) -> str:
    return ".".join(str(part) for part in number)


@dataclass
class Kernel:
    """What is known of one version."""

    version: Version
    source: str
    # Everything that exists is known, not only some of it.
    whole: bool
    symbols: set[str] = field(default_factory=set)
    # Those with a prompt, and those that can be m.
    visible: set[str] = field(default_factory=set)
    tristate: set[str] = field(default_factory=set)
    # Module names (with _) that a symbol builds, and those that its code is a part of.
    modules: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    parts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    starts: set[str] = field(default_factory=set)


@dataclass
class Claim:
    """A symbol, and the versions that have it according to the rules."""

    where: str
    symbol: str
    since: Version | None
    until: Version | None

    def covers(self, number: Version) -> bool:
        after = self.since is None or number >= self.since
        return after and (self.until is None or number < self.until)


def read_tree(number: Version, source: str, files: Iterator[tuple[str, str]]) -> Kernel:
    """The kernel of these (path, text)."""
    kernel = Kernel(number, source, whole=True)
    for path, text in files:
        name = path.rsplit("/", 1)[-1]
        if name.startswith("Kconfig"):
            starts = list(DECLARED.finditer(text))
            ends = [own.start() for own in starts[1:]] + [len(text)]
            for own, end in zip(starts, ends, strict=False):
                block = text[own.end() : end]
                kernel.symbols.add(own[1])
                if PROMPT.search(block):
                    kernel.visible.add(own[1])
                if TRISTATE.search(block):
                    kernel.tristate.add(own[1])
        elif name in ("Makefile", "Kbuild"):
            for target, symbol, objects in BUILT.findall(text.replace("\\\n", " ")):
                for built in re.findall(r"([\w-]+)\.o\b", objects):
                    if not symbol:
                        continue
                    if target == "obj":
                        kernel.modules[symbol].add(built.replace("-", "_"))
                    else:
                        kernel.parts[symbol].add(target.replace("-", "_"))
        else:
            kernel.starts.update(STARTS.findall(text))
            kernel.starts.update(f"{driver}_init" for driver in DRIVERS.findall(text))
    return kernel


def wanted(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    if not PLACES.match(path):
        return False
    if name.startswith("Kconfig") or name in ("Makefile", "Kbuild"):
        return True
    starts = r"^(drivers/(iommu|pci|vfio)|virt/kvm|arch/(arm64|x86)/(kvm|pci|kernel)|init)/.*\.c$"
    return bool(re.match(starts, path))


def of_directory(directory: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(directory.rglob("*")):
        inside = path.relative_to(directory).as_posix()
        if wanted(inside) and path.is_file():
            yield inside, path.read_text(encoding="utf-8", errors="replace")


def git(directory: str, *words: str) -> bytes:
    return subprocess.run(["git", "-C", directory, *words], check=True, stdout=subprocess.PIPE).stdout


def of_git(directory: str, tag: str) -> Iterator[tuple[str, str]]:
    names = git(directory, "ls-tree", "-r", "--name-only", tag).decode().splitlines()
    names = [name for name in names if wanted(name)]
    asked = "".join(f"{tag}:{name}\n" for name in names).encode()
    answer = subprocess.run(
        ["git", "-C", directory, "cat-file", "--batch"],
        input=asked,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    at = 0
    for name in names:
        end = answer.index(b"\n", at)
        header = answer[at:end].split()
        size = int(header[2])
        yield name, answer[end + 1 : end + 1 + size].decode("utf-8", "replace")
        at = end + 1 + size + 1


def of_config(path: Path) -> Kernel | None:
    """What a config mentions."""
    text = path.read_text(encoding="utf-8", errors="replace")
    header = re.search(r"^# Linux/\S+ (\d+\.\d+)\S* Kernel Configuration", text, re.MULTILINE)
    if header is None:
        return None
    mentioned = re.findall(r"^(?:# )?CONFIG_(\w+)(?:=| is not set)", text, re.MULTILINE)
    return Kernel(version(header[1]), path.name, whole=False, symbols=set(mentioned))


def groups(rule: dict[str, Any]) -> list[list[str]]:
    """The symbols of a rule: one of these lists is enough."""
    if "symbol" in rule:
        return [[rule["symbol"]]]
    if "all" in rule:
        return [list(rule["all"])]
    return [[group] if isinstance(group, str) else list(group) for group in rule.get("any", [])]


def bounds(entry: dict[str, Any]) -> tuple[Version | None, Version | None]:
    since, until = entry.get("since"), entry.get("until")
    return version(since) if since else None, version(until) if until else None


def setting(text: str) -> Claim:
    """`VFIO_GROUP=y since 6.6 until 7.0 if VFIO=m`."""
    words = text.split()
    rest = dict(zip(words[1::2], words[2::2], strict=True))
    since, until = rest.get("since"), rest.get("until")
    symbol = words[0].split("=")[0]
    return Claim(text, symbol, version(since) if since else None, version(until) if until else None)


class Comparison:
    def __init__(self, kernels: list[Kernel]) -> None:
        self.kernels = sorted(kernels, key=lambda kernel: kernel.version)
        self.compared = 0
        self.faults: set[str] = set()

    def fault(self, text: str) -> None:
        self.faults.add(text)

    def rule(self, rule: dict[str, Any]) -> None:
        """A rule applies where its symbols exist, and only there if it has bounds."""
        since, until = bounds(rule)
        own = Claim(rule["id"], "", since, until)
        alternatives = groups(rule)
        for kernel in self.kernels:
            exists = any(all(symbol in kernel.symbols for symbol in group) for group in alternatives)
            if not alternatives or all(symbol in FOREIGN for group in alternatives for symbol in group):
                continue
            self.compared += 1
            before = since is not None and kernel.version < since
            if own.covers(kernel.version) and not exists and kernel.whole:
                self.fault(f"{own.where}: none of its symbols is in {shown(kernel.version)}")
            elif not own.covers(kernel.version) and exists:
                bound = f"since {shown(since)}" if before and since else "until"
                self.fault(f"{own.where}: {bound}, but {kernel.source} ({shown(kernel.version)}) has it")
        for text in rule.get("set", []):
            claim = setting(text)
            claim.where = f"{rule['id']}: set {text}"
            claim.since = max(filter(None, (claim.since, since)), default=None)
            claim.until = min(filter(None, (claim.until, until)), default=None)
            if " if " not in text:
                self.claim(claim, exact="since" in text)

    def claim(self, claim: Claim, exact: bool) -> None:
        """A setting can be made where its symbol has a prompt, and only there if it has bounds."""
        for kernel in (kernel for kernel in self.kernels if kernel.whole):
            self.compared += 1
            visible = claim.symbol in kernel.visible
            if claim.covers(kernel.version):
                if not visible:
                    self.fault(f"{claim.where}: not in the menus of {shown(kernel.version)}")
            elif visible and exact:
                self.fault(f"{claim.where}: {shown(kernel.version)} has it, too")

    def somewhere(self, where: str, symbol: str) -> None:
        """A symbol that no kernel has is a typing error."""
        self.compared += 1
        if symbol in FOREIGN or self.is_outside(symbol):
            return
        if not any(symbol in kernel.symbols for kernel in self.kernels):
            self.fault(f"{where}: no kernel that was compared has {symbol}")

    def is_outside(self, name: str) -> bool:
        """Whether all trees that were compared are too old for this name, or too new."""
        versions = [kernel.version for kernel in self.kernels if kernel.whole]
        too_old = not versions or max(versions) < NEWER.get(name, (0,))
        return too_old or min(versions) >= GONE.get(name, (99,))

    def tables(self, profile: dict[str, Any], symbols: set[str]) -> None:
        modules, parts = profile.get("modules", {}), profile.get("part_of", {})
        for kernel in (kernel for kernel in self.kernels if kernel.whole):
            for symbol in sorted((symbols & kernel.tristate) - BUILT_IN):
                built = kernel.modules.get(symbol, set())
                part = kernel.parts.get(symbol, set())
                named = set(names(modules, symbol) or names(parts, symbol) or [symbol.lower()])
                self.compared += 1
                if symbol in parts:
                    if part and not named & part:
                        self.fault(f"[part_of] {symbol}: {shown(kernel.version)}: {sorted(part)}")
                elif built and not named & built:
                    self.fault(f"[modules] {symbol}: {shown(kernel.version)}: {sorted(built)}")
        for symbol, value in profile.get("initcalls", {}).items():
            for start in value if isinstance(value, list) else [value]:
                self.compared += 1
                whole = [kernel for kernel in self.kernels if kernel.whole]
                known = any(start in kernel.starts for kernel in whole) or self.is_outside(start)
                if whole and not known:
                    self.fault(f"[initcalls] {symbol}: no kernel that was compared has {start}")

    def image(self, profile: dict[str, Any], symbols: set[str], config: Path, listing: Path) -> None:
        """What a kernel's config builds is in its module tree, or in its modules.builtin."""
        text = config.read_text(encoding="utf-8", errors="replace")
        values = dict(re.findall(r"^CONFIG_(\w+)=([ym])$", text, re.MULTILINE))
        trees = listing.read_text(encoding="utf-8").split()
        bare = (re.sub(r"\.ko(\.\w+)?$", "", path.rsplit("/", 1)[-1]) for path in trees)
        found = {name.replace("-", "_") for name in bare}
        modules, parts = profile.get("modules", {}), profile.get("part_of", {})
        for symbol in sorted(symbols):
            if values.get(symbol) != "m" or symbol in BUILT_IN:
                continue
            self.compared += 1
            named = set(names(modules, symbol) or names(parts, symbol) or [symbol.lower()])
            # What only selects another symbol builds nothing.
            selects = {"VIRTUALIZATION", "ACPI_MCFG"}
            if symbol not in selects and not named & found:
                self.fault(f"{config.name}: {symbol}=m, and none of {sorted(named)} is a module")


def names(table: dict[str, Any], symbol: str) -> list[str]:
    value = table.get(symbol, [])
    listed = value if isinstance(value, list) else [value]
    return [name.replace("-", "_") for name in listed]


def kernels_of(arguments: argparse.Namespace) -> list[Kernel]:
    found: list[Kernel] = []
    for pair in arguments.tree:
        number, _, directory = pair.partition("=")
        found.append(read_tree(version(number), directory, of_directory(Path(directory))))
    if arguments.git:
        tags = git(arguments.git, "tag", "--list", "v[4-9].*").decode().split()
        releases = [tag for tag in tags if re.fullmatch(r"v\d+\.\d+", tag)]
        releases = [tag for tag in sorted(releases, key=version) if version(tag) >= (4, 9)]
        found += [read_tree(version(tag), tag, of_git(arguments.git, tag)) for tag in releases]
    for directory in arguments.configs:
        files = (path for path in sorted(Path(directory).rglob("*")) if path.is_file())
        found += [kernel for kernel in map(of_config, files) if kernel is not None]
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree", action="append", default=[])
    parser.add_argument("--git")
    parser.add_argument("--configs", action="append", default=[])
    parser.add_argument("--image", action="append", default=[])
    arguments = parser.parse_args()
    kernels = kernels_of(arguments)
    if not kernels:
        print("error: no kernel to compare with", file=sys.stderr)
        return 1
    comparison = Comparison(kernels)
    symbols: set[str] = set()
    profiles = [tomllib.loads((RULES / f"{name}.toml").read_text(encoding="utf-8")) for name in PROFILES]
    for rule in (rule for profile in profiles for rule in profile.get("rule", [])):
        comparison.rule(rule)
        for symbol in (symbol for group in groups(rule) for symbol in group):
            comparison.somewhere(rule["id"], symbol)
            symbols.add(symbol)
    for soc in profiles[0].get("soc", []):
        for symbol in [soc["symbol"], *soc.get("bridge", []), *soc["iommu"]]:
            comparison.somewhere(f"soc {soc['name']}", symbol)
    evidence = tomllib.loads((RULES / "evidence.toml").read_text(encoding="utf-8"))
    for entry in evidence["symbol"]:
        comparison.somewhere("evidence.toml", entry["name"])
    comparison.tables(profiles[0], symbols)
    for pair in arguments.image:
        config, _, listing = pair.partition("=")
        comparison.image(profiles[0], symbols, Path(config), Path(listing))
    for fault in sorted(comparison.faults):
        print(f"differs: {fault}")
    versions = sorted({kernel.version for kernel in kernels})
    print(
        f"{len(kernels)} sources from {shown(versions[0])} to {shown(versions[-1])}: "
        f"{comparison.compared} comparisons, {len(comparison.faults)} differ"
    )
    return 1 if comparison.faults else 0


if __name__ == "__main__":
    sys.exit(main())
