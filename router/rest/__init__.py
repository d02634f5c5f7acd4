"""The HTTP door: it parses requests, renders answers and errors, and limits connections."""
