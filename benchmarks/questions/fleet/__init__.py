"""Many robots that adapt at once, a k-set each, beside as many adaptations one after the other."""
