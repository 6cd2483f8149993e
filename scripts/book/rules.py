"""A page for each rule of the audit, from kernel-configs/*.toml. SARIF's helpUri leads there."""

import tomllib
from collections.abc import Iterator
from typing import Any

from book.links import repository
from book.pages import ROOT

FOLDER = "reference/rules"
PROFILES = ("passthrough", "hardened", "kvm-only")
_LEVELS = {
    "required": "**Required:** passthrough does not work without it.",
    "forbidden": "**Forbidden:** passthrough does not work with it.",
    "recommended": "**Recommended:** passthrough works without it, but worse or less safely.",
    "optional": "**Optional:** good to know.",
}
Rule = dict[str, Any]


def _profile(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "kernel-configs" / f"{name}.toml").read_text(encoding="utf-8"))


def _inherits(profile: dict[str, Any], rule: str) -> bool:
    """Whether a profile that extends another one takes this rule from it."""
    keep, drop = profile.get("keep"), profile.get("drop", [])
    kept = keep is None or any(rule == item or (item.endswith("-") and rule.startswith(item)) for item in keep)
    return kept and not any(rule == item or (item.endswith("-") and rule.startswith(item)) for item in drop)


def pages() -> Iterator[tuple[str, str, str]]:
    """The list of rules, and the pages: path in the book, title, text."""
    profiles = {name: _profile(name) for name in PROFILES}
    rules = [(name, rule) for name in PROFILES for rule in profiles[name].get("rule", [])]
    words, notes = ([item for name in PROFILES for item in profiles[name].get(key, [])] for key in ("word", "note"))
    text = [*_list([rule for _, rule in rules]), *_parameters(words, notes)]
    yield f"{FOLDER}/index.md", "Rules", "\n".join(text) + "\n"
    for own, rule in rules:
        yield (
            f"{FOLDER}/{rule['id']}.md",
            f"{rule['id']}: {rule['title']}",
            "\n".join(_page(own, rule, profiles)).rstrip() + "\n",
        )


def _list(rules: list[Rule]) -> Iterator[str]:
    yield "# Rules"
    yield ""
    yield "<!-- written by `make book` from kernel-configs/*.toml -->"
    yield ""
    yield "The rules of `vfioboot check`, with ids that never change. A rule's page says why a kernel needs"
    yield "it, what is seen without it, and how to mend it."
    yield ""
    yield "| Rule | Level | What it asks |"
    yield "|---|---|---|"
    for rule in rules:
        yield f"| [{rule['id']}]({rule['id']}.md) | {rule['level']} | {_cell(rule['title'])} |"


def _parameters(words: list[Rule], notes: list[Rule]) -> Iterator[str]:
    yield ""
    yield "## Parameters"
    yield ""
    yield "Kernel parameters that are recommended where they have an effect:"
    yield ""
    yield "| Parameter | Level | Architecture | Why |"
    yield "|---|---|---|---|"
    for word in words:
        architectures = ", ".join(word.get("arch", ["every"]))
        yield f"| `{word['word']}` | {word['level']} | {architectures} | {_cell(word['why'])} |"
    yield ""
    yield "Kernel parameters that get a note:"
    yield ""
    yield "| Parameter | Note |"
    yield "|---|---|"
    for note in notes:
        if "parameter" not in note:
            continue
        values = note.get("values")
        name = note["parameter"] + (f"={' or '.join(values)}" if values else "")
        only = f" ({', '.join(f'`{condition}`' for condition in note['when'])})" if "when" in note else ""
        yield f"| `{_cell(name)}`{only} | {_cell(note['text'])} |"


def _page(own: str, rule: Rule, profiles: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield f"# {rule['id']}: {rule['title']}"
    yield ""
    yield f"<!-- written by `make book` from kernel-configs/{own}.toml -->"
    yield ""
    yield _LEVELS[rule["level"]]
    yield ""
    for heading, key in (("Why", "why"), ("When it fails", "effect"), ("What to do", "fix")):
        yield f"## {heading}"
        yield ""
        yield _prose(rule[key])
        yield ""
    yield "## What it checks"
    yield ""
    yield from _checks(rule)
    if lines := rule.get("set"):
        yield ""
        yield "`check --fragment` writes:"
        yield ""
        yield "```text"
        yield from (f"CONFIG_{line}" for line in lines)
        yield "```"
    yield ""
    yield "## Where it counts"
    yield ""
    yield from _scope(own, rule, profiles)


def _checks(rule: Rule) -> Iterator[str]:
    accepted = _or(rule.get("accept") or (["n"] if rule["level"] == "forbidden" else ["y"]))
    if "parameter" in rule:
        yield from _switch(rule)
    elif "symbol" in rule:
        yield f"- {_symbol(rule['symbol'])} is {accepted}."
    elif "all" in rule:
        yield f"- Each of {_list_of(rule['all'], 'and')} is {accepted}."
    else:
        yield f"- One of {_list_of(rule['any'], 'or')} is {accepted}."
    if words := rule.get("satisfied_by"):
        yield f"- On the command line {_or(words)} satisfies it, whatever the config says."
    if words := rule.get("broken_by"):
        yield f"- On the command line {_or(words)} breaks it, whatever the config says."
    if rule.get("vendor_module"):
        yield "- On an Android GKI kernel the driver may be a vendor module: the rule is unknown until the"
        yield "  modules are given with `--modules`."
    if names := rule.get("modules"):
        yield f"- A module of one of these names satisfies it: {_or(names)}."
    if names := rule.get("never_module"):
        yield f"- A config with `m` is not that of a kernel for {_or(names)}: the symbol is never a module there."


def _switch(rule: Rule) -> Iterator[str]:
    name = rule["parameter"]
    if rule["reject"] == ["*"]:
        yield f"- The kernel parameter `{name}` is not given."
    else:
        yield f"- The kernel parameter `{name}` is none of {_or(rule['reject'])}."
    if (restore := rule.get("restore")) is not None:
        yield "- Its value is a list divided by commas, and every word of every occurrence counts."
        if restore:
            yield f"- A later {_or(restore)} takes it back."
    if conditions := rule.get("off_when"):
        yield f"- With {_list_of(conditions, 'and')} it must be {_or(rule['restore'])}."
    if other := rule.get("alternative"):
        yield f"- While [{other}]({other}.md) passes a failure is unknown: the machine may have the other one."


def _scope(own: str, rule: Rule, profiles: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield f"- Architectures: {_or(rule.get('arch', profiles['passthrough']['arch']))}."
    since, until = rule.get("since"), rule.get("until")
    if since or until:
        parts = [f"from {since} on" if since else "", f"before {until}" if until else ""]
        yield f"- Kernels {' and '.join(part for part in parts if part)}."
    if conditions := rule.get("when"):
        yield f"- Only where {_list_of(conditions if isinstance(conditions, list) else [conditions], 'and')}."
    for name in PROFILES:
        profile = profiles[name]
        if name != own and (profile.get("extends") != own or not _inherits(profile, rule["id"])):
            continue
        changed: Rule = next((item for item in profile.get("override", []) if item["id"] == rule["id"]), {})
        yield f"- Profile `{name}`: {changed.get('level', rule['level'])}."
    address = f"{repository()}/blob/main/kernel-configs/{own}.toml"
    yield f"- The rule itself: [kernel-configs/{own}.toml]({address})."


def _symbol(name: str | list[str]) -> str:
    if isinstance(name, list):
        return "(" + _list_of(name, "and") + ")"
    return f"`{name}`"


def _list_of(names: list[Any], last: str) -> str:
    quoted = [_symbol(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def _or(values: list[Any]) -> str:
    return _list_of([str(value) for value in values], "or")


def _prose(text: str) -> str:
    return text.replace("<", "\\<").replace("*", "\\*")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
