"""What policies reach in the first episode of a world that they were never told of."""
