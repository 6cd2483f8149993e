"""The book of docs/book: its links, its examples, and the pages that are generated."""
