"""Pretrain on one pendulum, move to another."""
