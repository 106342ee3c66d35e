rows = INPUT["rows"]  # noqa: F821 - what a script is given
OUTPUT = {"rows": [row.strip().title() for row in rows if row.strip()]}
