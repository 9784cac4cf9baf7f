"""The results table: methods x fractions x seeds, run, gathered and drawn. A script of its own."""
