"""The servers that `make up`, the tests and the bench run on this machine when no others are named.

Each lives in a folder of its own, keeps its data there, listens on loopback only, and stops when
the process that started it ends, however that ends.
"""
