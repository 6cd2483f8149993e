"""What scripts/mutants does with names, marks and verdicts; it is tried as a whole by running it."""

import tempfile
import unittest
from collections import Counter
from pathlib import Path

from mutants.__main__ import part
from mutants.copy import around, on_line
from mutants.modules import Mutant, modules
from mutants.programs import Test
from mutants.verdicts import Verdict, Verdicts, in_order

FILE = "src/cmdline/ctype.rs"
TEXT = b"fn f() {\n/*1,2<*/(if is(1) { /*1<*/a - b/*>*/ } else { /*3<*/!c/*>*/ + b })/*>*/ }"


def mutant(number: int, change: str) -> Mutant:
    return Mutant(number, "made", FILE, number, change)


def reaching(name: str, seconds: float) -> Test:
    return Test("lib", name, seconds, seconds, frozenset((1,)))


class Marks(unittest.TestCase):
    def test_an_error_belongs_to_the_innermost_mutants_around_it(self) -> None:
        for place, numbers in ((b"a - b", {1}), (b"!c", {3}), (b"+ b", {1, 2}), (b"fn f", set())):
            self.assertEqual(around(TEXT, TEXT.index(place) + 1), numbers, place)

    def test_an_error_beside_them_belongs_to_all_on_its_line(self) -> None:
        self.assertEqual((on_line(TEXT, 1), on_line(TEXT, 2)), (set(), {1, 2, 3}))


class Parts(unittest.TestCase):
    def test_shards_are_the_whole_and_a_sample_is_always_the_same(self) -> None:
        every = [mutant(number, f"replace {number}") for number in range(40)]
        shards = [part(every, None, f"{shard}/3") for shard in (1, 2, 3)]
        self.assertEqual(sorted(one for shard in shards for one in shard), every)
        sample = part(every, 7, None)
        self.assertEqual(sample, [one for one in every if one in part(every[::-1], 7, None)])
        self.assertEqual(len(sample), 7)


class Kept(unittest.TestCase):
    def test_a_miss_is_asked_again_with_other_tests_and_a_kill_is_not(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "verdicts")
            verdicts = Verdicts(file)
            verdicts.put(mutant(1, "one"), "old", Verdict("killed", "lib quick"))
            verdicts.put(mutant(2, "two"), "old", Verdict("missed", ""))
            again = Verdicts(file)
            self.assertEqual(again.get(mutant(1, "one"), "new"), Verdict("killed", "lib quick"))
            self.assertEqual(again.get(mutant(2, "two"), "old"), Verdict("missed", ""))
            self.assertIsNone(again.get(mutant(2, "two"), "new"))

    def test_the_likely_test_is_asked_first(self) -> None:
        tests = [reaching("slow", 3), reaching("quick", 1), reaching("before", 9), reaching("neighbour", 5)]
        one = mutant(1, "replace < with > in f")
        killers = Counter({(f"{FILE} f", "lib neighbour"): 2})
        names = [test.name for test in in_order(tests, one, killers, "lib before")]
        self.assertEqual(names, ["before", "neighbour", "quick", "slow"])


class Tables(unittest.TestCase):
    def test_every_module_has_files(self) -> None:
        self.assertEqual([module.name for module in modules() if not module.files], [])


if __name__ == "__main__":
    unittest.main()
