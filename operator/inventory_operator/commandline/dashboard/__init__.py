"""`kubectl inventory dashboard`: a page for one person, on their own machine, by their own rights."""
