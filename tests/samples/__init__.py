"""Samples and recordings of real systems that lie beside this repository, every one of them."""
