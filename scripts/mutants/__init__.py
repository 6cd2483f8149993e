"""Mutants: what the tests notice of changes to the code. See scripts/mutants.sh."""
