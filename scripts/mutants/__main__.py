"""Change the code of modules in small ways, one at a time, and count what their tests notice.

Ends with 1 if a change went unnoticed that tests/mutants/accepted.tsv does not name.
"""

import argparse
import datetime
import hashlib
import sys
from pathlib import Path

from mutants.copy import Copy
from mutants.modules import TABLES, Module, Mutant, accepted, modules
from mutants.programs import Program
from mutants.verdicts import Verdict, Verdicts, judge


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutants.sh", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of tests/mutants/modules.tsv; all of them")
    parser.add_argument("--place", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=int, metavar="N", help="N mutants of each module only, always the same")
    parser.add_argument("--shard", metavar="K/N", help="only part K, from 1, of N")
    parser.add_argument("--tests", type=int, metavar="N", help="ask only the N likeliest tests about a mutant")
    parser.add_argument("--again", action="store_true", help="ask the tests again where a verdict is known")
    parser.add_argument("--list", action="store_true", help="list the mutants, and compile nothing")
    parser.add_argument("--record", metavar="NOTE", help="add the result to tests/mutants/results.tsv")
    return parser.parse_intermixed_args()


def part(mutants: list[Mutant], sample: int | None, shard: str | None) -> list[Mutant]:
    """A part of the mutants that does not depend on their order."""
    mixed = sorted(mutants, key=lambda mutant: hashlib.sha256(mutant.name.encode()).digest())
    if shard:
        which, parts = map(int, shard.split("/"))
        mixed = mixed[which - 1 :: parts]
    chosen = set(mixed[:sample])
    return [mutant for mutant in mutants if mutant in chosen]


def report(module: Module, mutants: list[Mutant], dropped: set[str], verdicts: dict[Mutant, Verdict]) -> list[str]:
    """Print the survivors; the row of the table."""
    known = accepted()
    viable = len(verdicts)
    killed = sum(verdict.noticed for verdict in verdicts.values())
    missed = {mutant: verdict for mutant, verdict in verdicts.items() if not verdict.noticed}
    for mutant, verdict in missed.items():
        if mutant.name not in known:
            print(f"{verdict.kind}: {mutant}")
    for mutant, verdict in verdicts.items():
        if verdict.noticed and mutant.name in known:
            print(f"accepted.tsv names it, but {verdict.test} notices it: {mutant}", file=sys.stderr)
    tolerated = sum(mutant.name in known for mutant in missed)
    counts = [
        len(mutants),
        sum(mutant.state != "made" for mutant in mutants),
        sum(mutant.name in dropped for mutant in mutants),
        viable,
        killed,
        tolerated,
        len(missed) - tolerated,
    ]
    return [module.name, *map(str, counts), f"{100 * killed / viable:.1f} %" if viable else "-"]


HEAD = ["module", "mutants", "not made", "not viable", "viable", "killed", "accepted", "not noticed", "score"]


def show(table: list[list[str]]) -> None:
    lines = [HEAD, *table]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for line in lines:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells))


def main() -> int:
    options = arguments()
    every = modules()
    if unknown := set(options.modules) - {module.name for module in every}:
        sys.exit(f"error: mutants: no module {', '.join(unknown)}; there are {' '.join(m.name for m in every)}")
    # All are compiled in, whichever are asked for: another module needs no other build.
    copy = Copy(options.place, sorted(set().union(*(module.files for module in every))))
    copy.update()
    chosen = [module for module in every if module.name in (options.modules or {m.name for m in every})]
    if options.list:
        for mutant in copy.mutants:
            if any(mutant.file in module.files for module in chosen):
                print(f"{mutant.state}: {mutant}")
        return 0
    names = sorted({name for module in chosen for name in module.programs})
    built = copy.programs(names)
    programs = {name: Program(name, path, copy.tree) for name, path in built.items()}
    tests = [test for program in programs.values() for test in program.tests(options.place / "reached")]
    kept = Verdicts(options.place / "verdicts.tsv")
    table = []
    for module in chosen:
        mine = part([m for m in copy.mutants if m.file in module.files], options.sample, options.shard)
        made = [m for m in mine if m.state == "made" and m.name not in copy.dropped]
        verdicts = judge(module, made, programs, tests, kept, options.again, options.tests)
        table.append(report(module, mine, copy.dropped, verdicts))
        if options.record is not None:
            limit = options.tests and f"{options.tests} tests each"
            parts = [options.sample and f"sample of {options.sample}", options.shard, limit]
            scope = ", ".join(filter(None, parts)) or "all"
            with (TABLES / "results.tsv").open("a") as file:
                today = datetime.date.today().isoformat()
                file.write("\t".join([*table[-1], today, scope, options.record]) + "\n")
    show(table)
    return 1 if any(row[HEAD.index("not noticed")] != "0" for row in table) else 0


if __name__ == "__main__":
    sys.exit(main())
