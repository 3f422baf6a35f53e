"""Kinds of methods: how they pretrain, and how they adapt."""
