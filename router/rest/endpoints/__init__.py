"""One module per group of paths: parse, call, render."""
