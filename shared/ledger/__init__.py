"""The books: what accounts there are, how money moves between them, and the entries that say it did."""
