"""Tests of the checks of the book."""

import unittest
from pathlib import Path

from book.command_line import page_of
from book.examples import matches, steps
from book.pages import ROOT, Block, Page, anchor

PAGE = """\
# A `title`, and more

[there](other.md#part) but not `[this](one)`

<!-- with: phone -->
```sh,exit-1
false [no](link)
```
"""


class Pages(unittest.TestCase):
    """What is found in a page."""

    def setUp(self) -> None:
        self.page = Page(Path(ROOT / "page.md"), PAGE)

    def test_blocks_and_directives_come_in_order(self) -> None:
        directive, block = self.page.blocks
        self.assertEqual((directive.directive, directive.words), (True, ("with", "phone")))
        self.assertEqual((block.language, block.words, block.line), ("sh", ("sh", "exit-1"), 7))

    def test_links_in_code_are_none(self) -> None:
        self.assertEqual(list(self.page.links()), [(3, "other.md#part")])

    def test_a_heading_has_the_anchor_of_mdbook(self) -> None:
        self.assertEqual(anchor("A `title`, and more"), "a-title-and-more")

    def test_a_block_without_an_end_is_named(self) -> None:
        with self.assertRaisesRegex(ValueError, r"page.md:2: this block has no end"):
            Page(ROOT / "page.md", "text\n```sh\n").blocks  # noqa: B018


class Consoles(unittest.TestCase):
    """Commands with what they print."""

    def test_commands_have_their_output(self) -> None:
        block = Block(10, ("console",), "$ one \\\n  more\nout\n$ two\n")
        self.assertEqual(list(steps(block)), [(10, "one \\\n  more", ["out"]), (13, "two", [])])

    def test_an_ellipsis_stands_for_the_rest(self) -> None:
        self.assertTrue(matches(["a…", "…", "z"], ["abc", "d", "e", "z"]))
        self.assertTrue(matches(["…"], []))
        self.assertFalse(matches(["a…", "…", "y"], ["abc", "z"]))
        self.assertFalse(matches([], ["more"]))
        self.assertFalse(matches(["a"], ["ab"]))


class CommandLine(unittest.TestCase):
    """Pages of commands."""

    def test_a_subcommand_has_a_page_beside_its_program(self) -> None:
        self.assertEqual(page_of(("vfioboot", "ramdisk", "ls")), "reference/vfioboot/ramdisk-ls.md")
        self.assertEqual(page_of(("vfiorun",)), "reference/vfiorun/index.md")


if __name__ == "__main__":
    unittest.main()
