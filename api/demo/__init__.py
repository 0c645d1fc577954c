"""The demo: a small mesh of real Envoys on loopback, with Meshweir beside it."""
