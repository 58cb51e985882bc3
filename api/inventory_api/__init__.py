"""The inventory and loans service."""
