"""The paper's own recipe: supervised trainer, policy, and DAgger's collection."""
