"""Effects, a batch at a time: what an export reads and writes."""
