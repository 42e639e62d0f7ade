"""The parts of bench.py: subjects, ways to measure them, and what is written about it."""
