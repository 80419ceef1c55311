"""A day's result, told once: statements, their files, and the record that a day is closed."""
