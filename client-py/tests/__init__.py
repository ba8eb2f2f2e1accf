"""Tests that need no execgate server."""
