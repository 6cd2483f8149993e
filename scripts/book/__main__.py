"""`python3 -m book check|update [--programs DIR] [PAGE…]`."""

import argparse
import sys
import time
from pathlib import Path

from book import generated, links
from book.examples import Programs, Runner, static_problems
from book.pages import ROOT, all_pages


def main() -> int:
    """Run the checks, or write the generated pages."""
    parser = argparse.ArgumentParser(prog="book", description=__doc__)
    parser.add_argument("what", choices=("check", "update"))
    parser.add_argument("--programs", type=Path, required=True, help="the directory with vfioboot and vfiorun")
    parser.add_argument("pages", nargs="*", help="run the examples of pages with this in their names only")
    arguments = parser.parse_intermixed_args()
    programs = Programs(arguments.programs.resolve())
    if arguments.what == "update":
        generated.write(programs)
        return 0
    started = time.monotonic()
    found = list(generated.problems(programs))
    pages = all_pages()
    found += links.problems(pages)
    found += static_problems(pages, programs)
    runner = Runner(programs)
    blocks = 0
    for page in pages:
        if page.path.is_relative_to(ROOT) and (
            not arguments.pages or any(name in page.name for name in arguments.pages)
        ):
            found += runner.problems(page)
            blocks += sum(not block.directive for block in page.blocks)
    for problem in found:
        print(problem, file=sys.stderr)
    print(f"book: {len(pages)} pages, {blocks} blocks, {len(found)} problems, {time.monotonic() - started:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
