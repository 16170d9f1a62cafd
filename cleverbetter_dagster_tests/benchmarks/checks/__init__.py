"""Tests of the benchmarks, and of what they promise."""
