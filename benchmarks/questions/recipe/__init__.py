"""The paper's own recipe over its published protocol."""
