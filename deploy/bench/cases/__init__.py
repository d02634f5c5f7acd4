"""One module per measurement, each with its `CASE`; `every.py` lists them.

Shared between them: beside_echo.py and tiny_mlp.py (HTTP), variants.py (MiniLM), crowds.py (models
by the hundred). Cases about residency have a `Size`, so that tests can run small ones.
"""
