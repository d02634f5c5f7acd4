"""One module per measurement, each with its `CASE`; `every.py` lists them.

Shared between them: beside_echo.py and tiny_mlp.py (HTTP), variants.py (MiniLM).
"""
