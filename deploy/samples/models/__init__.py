"""One module per sample model. Each has a `SAMPLE` and imports torch only while one is made."""
