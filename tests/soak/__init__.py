"""Long checks of what must be trusted: kills, damaged files, growth. `python -m tests.soak`."""
