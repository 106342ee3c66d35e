"""Other products on the shapes of our benchmarks, beside ours: `python -m bench.others`. See README.md."""
