"""Adapters: the few numbers of a network by which tasks differ, one small file per kind and one table of them."""
