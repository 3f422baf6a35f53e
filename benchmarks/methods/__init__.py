"""The methods under comparison."""
