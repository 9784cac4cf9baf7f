"""What is measured: a module for each part, which loads no library that it measures."""
