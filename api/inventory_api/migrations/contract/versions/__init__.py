"""Contract migrations: named c0001_….py, each with `requires_expand` and `lossless_downgrade`."""
