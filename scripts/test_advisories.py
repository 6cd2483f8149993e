"""What ranges of versions mean, and that a vulnerable crate is found."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import advisories


class Ranges(unittest.TestCase):
    def test_as_cargo_reads_them(self) -> None:
        inside = [
            ("0.11.6", ">= 0.11.6, < 0.12.0"),
            ("1.2.3", "1.2.0"),
            ("0.2.9", "^0.2.3"),
            ("1.2.9", "~1.2.3"),
            ("0.10.0", ">= 0.10.0-rc.1"),
            ("2.0.0+build.5", "=2.0.0"),
        ]
        outside = [
            ("0.12.0", ">= 0.11.6, < 0.12.0"),
            ("2.0.0", "1.2.0"),
            ("0.3.0", "^0.2.3"),
            ("1.3.0", "~1.2.3"),
            ("0.10.0-rc.1", ">= 0.10.0"),
            ("0.0.4", "^0.0.3"),
        ]
        for version, requirement in inside:
            self.assertTrue(advisories.satisfies(version, requirement), (version, requirement))
        for version, requirement in outside:
            self.assertFalse(advisories.satisfies(version, requirement), (version, requirement))
        with self.assertRaises(ValueError):
            advisories.satisfies("1.0.0", "anything")


class Database(unittest.TestCase):
    def check(self, patched: str, extra: str = "") -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as directory:
            crate = pathlib.Path(directory, "crates", "binrw")
            crate.mkdir(parents=True)
            crate.joinpath("RUSTSEC-2099-0001.md").write_text(
                f'```toml\n[advisory]\nid = "RUSTSEC-2099-0001"\n{extra}\n'
                f"[versions]\npatched = {patched}\n```\n\n# Title\n"
            )
            command = [sys.executable, advisories.__file__, "--database", directory]
            return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_a_vulnerable_crate_is_named(self) -> None:
        found = self.check("[]")
        self.assertEqual(found.returncode, 1)
        self.assertIn("RUSTSEC-2099-0001", found.stderr)

    def test_a_patched_or_withdrawn_one_passes(self) -> None:
        self.assertEqual(self.check('[">= 0.0.1"]').returncode, 0)
        self.assertEqual(self.check("[]", 'withdrawn = "2099-01-01"').returncode, 0)


if __name__ == "__main__":
    unittest.main()
