"""What is in memory on a worker: the ledger of bytes, who goes for whom, and how."""
