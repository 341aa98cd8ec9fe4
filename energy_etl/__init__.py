"""Energy readings from vendor clouds into DuckDB, figures in Polars, ordered delivery to Wattics.

Where each line of code lives is told in CONTRIBUTING.md.
"""
