"""From an entry of the work stream to its committed outcome."""
