"""The operator for InventoryApp: releases that know the database."""
