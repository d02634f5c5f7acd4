"""`python -m deploy.docs`: rewrites the generated tables."""

from __future__ import annotations

from deploy.docs import tables

if __name__ == "__main__":
    tables.rewrite_all()
