"""What every door shares: from an accepted request to its outcome."""
