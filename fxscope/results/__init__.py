"""What every result shares: saving, JSON, tables, provenance, progress."""
