"""The figures that the README quotes: `make bench`, or `python -m benchmarks NAME`. Ratios of medians taken in one run on one machine."""
