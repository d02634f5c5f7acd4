"""The device a worker owns: its memory, its streams, and what models on it share."""
