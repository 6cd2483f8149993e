#!/usr/bin/env python3
"""Verify the map of src/lib.rs from the paths in the source.

Two rules:
  - no circle: files do not import each other, directly or through others;
  - layers: a top-level module of the library uses only modules of the rows above its own in the
    table of src/lib.rs, and that table lists every module that is declared.

An import is a `use` or a path in code (`crate::a::b`, `super::b`, `vfioboot::a`, `child::f`).
A name that a mod.rs re-exports counts as an import of the file that defines it. A mod.rs that
declares its children and re-exports their names does not import them; one whose own code uses
them does. Test modules are left out.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

LIBRARY = "vfioboot"
# maximum depth of re-exports; two globs may import each other
MAX_DEPTH = 16
TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<block>/\*)
      | (?P<string>[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)|[bc]?"(?:\\.|[^"\\])*")
      | (?P<char>b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\])'|'\w+)
      | (?P<word>(?:r\#)?[A-Za-z_]\w*)
      | (?P<number>\d\w*)
      | (?P<colons>::)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
ATTRIBUTE_PATH = re.compile(r'"((?:crate|super|self|\w+)(?:::\w+)+)"')
ROW = re.compile(r"^//! \| \[?`(\w+)`\]? \|")


@dataclass(frozen=True)
class Token:
    text: str
    line: int
    word: bool


@dataclass
class Use:
    path: list[str]
    alias: str  # "*" for a glob
    exported: bool
    line: int


@dataclass
class Module:
    """A module of one crate: a file, or an inline `mod name { … }` in one."""

    file: Path
    parent: "Module | None" = None
    name: str = ""
    children: dict[str, "Module"] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    paths: list[tuple[list[str], int]] = field(default_factory=list)
    items: set[str] = field(default_factory=set)
    # names in code, with their first line: whether a re-export is also used here
    names: dict[str, int] = field(default_factory=dict)

    @property
    def root(self) -> "Module":
        return self if self.parent is None else self.parent.root

    def walk(self) -> Iterator["Module"]:
        yield self
        for child in self.children.values():
            yield from child.walk()


@dataclass(frozen=True, order=True)
class Import:
    source: Path
    line: int
    path: str
    target: Path


@dataclass(frozen=True, order=True)
class Violation:
    source: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.text}"


# --- reading ---------------------------------------------------------------------------------


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a Rust source, without comments; strings of attributes are kept."""
    position, line = 0, 1
    while position < len(text):
        found = TOKEN.match(text, position)
        assert found is not None
        piece = found.group()
        if found.lastgroup == "block":
            piece = block_comment(text, position)
        elif found.lastgroup not in ("space", "char", "number"):
            yield Token(piece.removeprefix("r#"), line, found.lastgroup == "word")
        position += len(piece)
        line += piece.count("\n")


def block_comment(text: str, start: int) -> str:
    depth = 0
    for mark in re.finditer(r"/\*|\*/", text[start:]):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return text[start : start + mark.end()]
    return text[start:]


class Reader:
    """Fills the module of one file from its text."""

    def __init__(self, module: Module, text: str) -> None:
        self.tokens = list(tokens(text))
        self.at = 0
        self.module = module
        self.depth = 0
        self.inline: list[int] = []  # depths at which inline modules close
        self.declared: list[str] = []

    def text(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place].text if 0 <= place < len(self.tokens) else ""

    def read(self) -> list[str]:
        """Read the file; returns the names of the children with their own files."""
        exported = False
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.text == "#":
                self.attribute()
                continue
            if token.text == "pub" and token.word:
                exported = True
                self.at += 1
                if self.text() == "(" and self.text(1) in ("crate", "super", "self", "in"):
                    self.skip("(", ")")
                continue
            if token.text == "use" and self.text(1) != "<":
                self.use(exported)
            elif token.text == "mod" and self.text(2) in ("{", ";"):
                self.mod()
            elif token.word:
                self.path(token)
            else:
                self.bracket(token.text)
                self.at += 1
            exported = False
        return self.declared

    def bracket(self, text: str) -> None:
        if text == "{":
            self.depth += 1
        elif text == "}":
            self.depth -= 1
            if self.inline and self.inline[-1] == self.depth:
                self.inline.pop()
                assert self.module.parent is not None
                self.module = self.module.parent

    def skip(self, opening: str, closing: str) -> list[Token]:
        """Skip a bracketed group that starts here, and return it."""
        start, depth = self.at, 0
        while self.at < len(self.tokens):
            depth += {opening: 1, closing: -1}.get(self.text(), 0)
            self.at += 1
            if depth == 0:
                break
        return self.tokens[start : self.at]

    def attribute(self) -> None:
        self.at += 1
        if self.text() == "!":
            self.at += 1
        if self.text() != "[":
            return
        group = self.skip("[", "]")
        if [token.text for token in group] == ["[", "cfg", "(", "test", ")", "]"]:
            self.skip_item()
            return
        # a derive's helper may name a path in a string, or an expression
        for place, token in enumerate(group):
            named = ATTRIBUTE_PATH.fullmatch(token.text)
            if named:
                self.module.paths.append((named[1].split("::"), token.line))
            elif token.word and group[place - 1].text != "::":
                path, end = [token.text], place
                while group[end + 1].text == "::" and group[end + 2].word:
                    end += 2
                    path.append(group[end].text)
                if len(path) > 1:
                    self.module.paths.append((path, token.line))

    def skip_item(self) -> None:
        while self.at < len(self.tokens):
            if self.text() == "{":
                self.skip("{", "}")
                return
            self.at += 1
            if self.text(-1) == ";":
                return

    def mod(self) -> None:
        name = self.text(1)
        if self.text(2) == ";":
            self.declared.append(name)
        else:
            child = Module(self.module.file, self.module, name)
            self.module.children[name] = child
            self.module = child
            self.inline.append(self.depth)
            self.depth += 1
        self.at += 3

    def use(self, exported: bool) -> None:
        self.at += 1
        if self.text() == "::":
            self.at += 1
        self.use_tree([], exported)

    def use_tree(self, prefix: list[str], exported: bool) -> None:
        path, line = list(prefix), self.tokens[self.at].line
        while True:
            text = self.text()
            if text == "{":
                self.at += 1
                while self.text() not in ("}", ""):
                    self.use_tree(path, exported)
                    if self.text() == ",":
                        self.at += 1
                self.at += 1
                return
            self.at += 1
            if text == "*":
                self.module.uses.append(Use(path, "*", exported, line))
                return
            if not (text == "self" and path):
                path.append(text)
            if self.text() != "::":
                break
            self.at += 1
        alias = path[-1]
        if self.text() == "as":
            alias = self.text(1)
            self.at += 2
        self.module.uses.append(Use(path, alias, exported, line))

    def path(self, token: Token) -> None:
        before = self.text(-1) if self.at else ""
        if self.depth == (self.inline[-1] + 1 if self.inline else 0):
            if token.text in ("fn", "struct", "enum", "trait", "type", "const", "static", "union"):
                self.module.items.add(self.text(1))
            elif token.text == "macro_rules":
                self.module.items.add(self.text(2))
        path = [token.text]
        self.at += 1
        while self.text() == "::" and self.at + 1 < len(self.tokens):
            if not self.tokens[self.at + 1].word:
                break
            path.append(self.text(1))
            self.at += 2
        if before in (".", "::", "fn", "let", "'"):
            return
        if len(path) > 1:
            self.module.paths.append((path, token.line))
        if path[0][0].isupper() or len(path) > 1 or self.text() in ("(", "!"):
            self.module.names.setdefault(path[0], token.line)


def load(file: Path, parent: Module | None = None, name: str = "", *, root: bool = False) -> Module:
    """The tree of modules with its root in `file`."""
    module = Module(file, parent, name)
    declared = Reader(module, file.read_text()).read()
    folder = file.parent if root or file.name == "mod.rs" else file.with_suffix("")
    for child in declared:
        beside, below = folder / f"{child}.rs", folder / child / "mod.rs"
        found = beside if beside.exists() else below
        if found.exists():
            module.children[child] = load(found, module, child)
    return module


# --- resolving -------------------------------------------------------------------------------


class Crates:
    """The library and the programs that link it."""

    def __init__(self, top: Path) -> None:
        source = top / "src"
        self.library = load(source / "lib.rs", root=True)
        programs = [source / "main.rs", *sorted(source.glob("bin/*.rs")), *sorted(source.glob("bin/*/main.rs"))]
        self.all = [self.library] + [load(file, root=True) for file in programs if file.exists()]

    def resolve(self, module: Module, path: list[str], depth: int = 0) -> Module | None:
        """The module that defines `path`, as seen from `module`; None for other crates."""
        if depth > MAX_DEPTH:
            return None
        current, rest = self.begin(module, path, depth)
        for name in rest:
            if current is None:
                return None
            if name in ("self", "super"):
                current = current.parent if name == "super" else current
            elif name in current.children:
                current = current.children[name]
            else:
                return self.item(current, name, depth)
        return current

    def begin(self, module: Module, path: list[str], depth: int) -> tuple[Module | None, list[str]]:
        first, rest = path[0], path[1:]
        if first == "crate":
            return module.root, rest
        if first == "self":
            return module, rest
        if first == "super":
            return module.parent, rest
        if first == LIBRARY and module.root is not self.library:
            return self.library, rest
        if first in module.children:
            return module.children[first], rest
        for use in module.uses:
            if use.alias == first and use.path != path[:1]:
                return self.resolve(module, use.path, depth + 1), rest
        return None, rest

    def item(self, module: Module, name: str, depth: int) -> Module | None:
        """The module that defines the item `name` of `module`."""
        if name in module.items:
            return module
        for use in module.uses:
            if use.alias == name:
                # a re-export from another crate is this module's own
                return self.resolve(module, use.path, depth + 1) or module
        for use in module.uses:
            if use.alias == "*":
                target = self.resolve(module, use.path, depth + 1)
                if target is not None and self.offers(target, name, depth + 1):
                    return self.item(target, name, depth + 1)
        return module

    def offers(self, module: Module, name: str, depth: int) -> bool:
        if name in module.items or name in module.children:
            return True
        return depth <= MAX_DEPTH and any(
            use.alias == name
            or (
                use.alias == "*"
                and (target := self.resolve(module, use.path, depth + 1)) is not None
                and self.offers(target, name, depth + 1)
            )
            for use in module.uses
        )

    def imports(self) -> list[Import]:
        """One import for each pair of files: the first place that names the other."""
        first: dict[tuple[Path, Path], Import] = {}
        for root in self.all:
            for module in root.walk():
                for path, line, target in self.named(module):
                    pair = (module.file, target.file)
                    one = Import(module.file, line, "::".join(path), target.file)
                    if module.file != target.file and (pair not in first or one < first[pair]):
                        first[pair] = one
        return sorted(first.values())

    def named(self, module: Module) -> Iterator[tuple[list[str], int, Module]]:
        for use in module.uses:
            target = self.resolve(module, use.path)
            if target is None:
                continue
            line = use.line
            if use.alias != "*" and self.is_module(module, use.path):
                continue  # what it is used for is among the paths
            if use.exported and is_below(target, module):
                if use.alias not in module.names:
                    continue
                line = module.names[use.alias]
            yield use.path, line, target
        for path, line in module.paths:
            target = self.resolve(module, path)
            if target is not None:
                yield path, line, target

    def is_module(self, module: Module, path: list[str]) -> bool:
        parent = self.resolve(module, path[:-1]) if len(path) > 1 else module
        return parent is not None and path[-1] in parent.children


def is_below(module: Module, above: Module) -> bool:
    return module.parent is above or (module.parent is not None and is_below(module.parent, above))


# --- checking ---------------------------------------------------------------------------------


def circles(imports: list[Import]) -> list[list[Import]]:
    """The imports inside each import cycle."""
    arrows: dict[Path, list[Import]] = {}
    for one in imports:
        arrows.setdefault(one.source, []).append(one)
    groups = [group for group in components(arrows) if len(group) > 1]
    return [[one for one in imports if one.source in group and one.target in group] for group in groups]


def components(arrows: dict[Path, list[Import]]) -> list[set[Path]]:
    """Tarjan's strongly connected components."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    groups: list[set[Path]] = []

    def visit(file: Path) -> None:
        index[file] = low[file] = len(index)
        stack.append(file)
        for arrow in arrows.get(file, []):
            if arrow.target not in index:
                visit(arrow.target)
                low[file] = min(low[file], low[arrow.target])
            elif arrow.target in stack:
                low[file] = min(low[file], index[arrow.target])
        if low[file] == index[file]:
            start = stack.index(file)
            groups.append(set(stack[start:]))
            del stack[start:]

    for file in sorted(arrows):
        if file not in index:
            visit(file)
    return groups


def layers(top: Path) -> list[str]:
    """The modules of the map in src/lib.rs, lowest first."""
    lines = (top / "src/lib.rs").read_text().splitlines()
    return [row[1] for row in map(ROW.match, lines) if row]


def violations(top: Path) -> list[Violation]:
    crates = Crates(top)
    library = top / "src/lib.rs"
    imports = crates.imports()
    result: list[Violation] = []

    order = layers(top)
    declared = set(crates.library.children)
    for name in sorted(declared.symmetric_difference(order)):
        text = "no row for" if name in declared else "a row for what is not a module:"
        result.append(Violation(library, 1, f"the map has {text} `{name}`"))

    owner = {module.file: top_level(module) for module in crates.library.walk()}
    for one in imports:
        source, target = owner.get(one.source), owner.get(one.target)
        if source == target or source not in order or target not in order:
            continue
        if order.index(source) < order.index(target):
            text = f"up: `{one.path}`: `{source}` is below `{target}` in the map of src/lib.rs"
            result.append(Violation(one.source, one.line, text))
    for number, circle in enumerate(circles(imports), 1):
        for one in circle:
            text = f"circle {number}: `{one.path}` imports {one.target.relative_to(top)}"
            result.append(Violation(one.source, one.line, text))
    return [Violation(one.source.relative_to(top), one.line, one.text) for one in result]


def top_level(module: Module) -> str:
    while module.parent is not None and module.parent.parent is not None:
        module = module.parent
    return module.name


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="list what breaks the rules, and succeed")
    parser.add_argument("--imports", action="store_true", help="list every import that was found")
    parser.add_argument("top", type=Path, nargs="?", default=Path(__file__).resolve().parent.parent)
    options = parser.parse_args()
    if options.imports:
        for one in Crates(options.top).imports():
            target = one.target.relative_to(options.top)
            print(f"{one.source.relative_to(options.top)}:{one.line}: {one.path} -> {target}")
        return 0
    found = violations(options.top)
    for violation in found:
        print(violation)
    return 1 if found and not options.list else 0


if __name__ == "__main__":
    sys.exit(main())
