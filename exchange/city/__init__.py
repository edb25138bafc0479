"""The demo city: a synthetic Greater Manchester, the same for the same seed. No real person is in it."""
