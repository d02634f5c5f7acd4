"""What is in memory on a worker: the ledger of bytes, what to evict for a load, and how."""
