"""Model formats: how the files of a version become something that runs, and how they are packed."""
