"""The benchmarks of the engine, each beside a bare baseline and an audit: `python -m bench`. See README.md."""
