"""The tests, and the servers they run on."""
