"""The documents of the project, and the tables in them that the code generates."""
