"""The publisher's half: from a file or a module to the files of a model version."""
