"""Side-by-side timings against the peers. `make bench` runs all; nothing here asserts a time."""
