"""`kubectl inventory`: what a person sees of an InventoryApp and orders of the operator, by their own rights."""
