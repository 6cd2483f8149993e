"""Tests of layers.py on scratch trees: violations, and valid imports."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import layers

MAP = "//! | [`low`] | x |\n//! | `high` | x |\npub mod low;\npub mod high;\n"


class Scratch(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name)

    def write(self, **files: str) -> None:
        """`a__b="…"` is src/a/b.rs; lib.rs and two empty modules are added unless given."""
        for name, text in ({"lib": MAP, "low": "", "high": ""} | files).items():
            file = self.top / "src" / (name.replace("__", "/") + ".rs")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def found(self, **files: str) -> list[str]:
        self.write(**files)
        return [str(violation) for violation in layers.violations(self.top)]

    def assert_circle(self, *places: str, **files: str) -> None:
        found = self.found(**files)
        self.assertEqual(sorted(places), sorted(line.partition(": ")[0] for line in found), found)
        for line in found:
            self.assertIn("circle 1", line)

    def test_a_clean_tree(self) -> None:
        self.assertEqual([], self.found(high="use crate::low::f;"))

    def test_an_arrow_up(self) -> None:
        (line,) = self.found(low="\nfn f() { crate::high::g() }")
        self.assertTrue(line.startswith("src/low.rs:2: up: `crate::high::g`"), line)

    def test_an_arrow_up_inside_a_nested_group(self) -> None:
        (line,) = self.found(low="use crate::{\n  low::x,\n  high::{self as h, deep::{A, B}},\n};")
        self.assertTrue(line.startswith("src/low.rs:3: up: `crate::high::deep::A`"), line)

    def test_an_arrow_up_through_an_imported_module(self) -> None:
        (line,) = self.found(low="use crate::high as h;\nfn f() { h::g() }")
        self.assertIn("src/low.rs:2: up", line)

    def test_two_files_that_import_each_other(self) -> None:
        self.assert_circle(
            "src/low/a.rs:1",
            "src/low/b.rs:1",
            low="mod a; mod b;",
            low__a="use super::b::B; struct A;",
            low__b="fn f(_: super::a::A) {} struct B;",
        )

    def test_a_circle_of_three_behind_re_exports(self) -> None:
        self.assert_circle(
            "src/low/a.rs:1",
            "src/low/b.rs:1",
            "src/low/c.rs:1",
            low="mod a; mod b; mod c; pub use a::*; pub use self::{b::B as Bee, c::C};",
            low__a="use super::Bee; pub struct A;",
            low__b="use crate::low::C; pub struct B;",
            low__c="use super::A; pub struct C;",
        )

    def test_a_parent_that_re_exports_a_child_which_imports_from_it(self) -> None:
        files = {"low__a": "use super::Shared; pub struct A; pub fn f() {}"}
        self.assertEqual([], self.found(low="mod a; pub use a::{A, f}; pub struct Shared;", **files))
        for used in ("struct B(A);", "fn g() { f() }", "fn g() { a::f() }"):
            places = ("src/low.rs:2", "src/low/a.rs:1")
            self.assert_circle(*places, low=f"mod a; pub use a::{{A, f}}; pub struct Shared;\n{used}", **files)

    def test_paths_that_are_not_imports(self) -> None:
        low = """
            //! [`crate::high::X`]
            /* crate::high::X /* nested */ crate::high::Y */
            pub(in crate::high) fn f<'a>(_: &'a str) -> char { let _ = r#"crate::high::"#; '"' }
            #[cfg(test)] mod tests { use crate::high::*; fn g() { {} } }
            fn h() { let _ = "crate::high::X"; self.high::<u8>(); }
        """
        self.assertEqual([], self.found(low=low))

    def test_a_path_in_an_attribute(self) -> None:
        (line,) = self.found(low='#[serde(with = "crate::high::text")] struct A;')
        self.assertIn("`crate::high::text`", line)
        (line,) = self.found(low="#[arg(value_parser = crate::high::parse)] struct A;")
        self.assertIn("`crate::high::parse`", line)

    def test_the_files_of_a_program(self) -> None:
        self.assert_circle(
            "src/bin/p/a.rs:1",
            "src/bin/p/main.rs:1",
            bin__p__main="mod a; use vfioboot::high::X; fn main() { a::f() } struct S;",
            bin__p__a="use crate::S; pub fn f() {}",
        )

    def test_the_map_names_each_module_once(self) -> None:
        lib = "//! | [`low`] | x |\n//! | [`gone`] | x |\npub mod low;\nmod high;"
        found = self.found(lib=lib)
        self.assertEqual(2, len(found), found)

    def test_the_status_and_the_list(self) -> None:
        self.write(low="use crate::high::X;")
        script = [sys.executable, layers.__file__, str(self.top)]
        self.assertEqual(1, subprocess.run(script, check=False, capture_output=True).returncode)
        listed = subprocess.run([*script, "--list"], check=True, capture_output=True, text=True)
        self.assertIn("src/low.rs:1: up", listed.stdout)


if __name__ == "__main__":
    unittest.main()
