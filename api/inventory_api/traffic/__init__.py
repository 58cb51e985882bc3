"""What stands between a connection and an endpoint: who is let in, how much and how fast, and for how long."""
