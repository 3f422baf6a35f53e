"""Policies in other runtimes."""

from nb_agents.export.onnx import DeterministicPolicy, export_onnx

__all__ = ["DeterministicPolicy", "export_onnx"]
