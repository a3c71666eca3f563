"""The documentation's pages, and the scripts that make and check parts of them."""
