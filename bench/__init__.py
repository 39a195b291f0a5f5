"""Long programs on the real cluster, and benchmarks; the newest result of each is kept in bench/results/NAME.md."""
