"""The log of what happened to copies, as pages and as a stream."""
