"""Generated from the protos by generate.py; not edited by hand."""
