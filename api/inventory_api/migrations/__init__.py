"""Two linear migration histories, and the rule that says which release runs on which schema."""
