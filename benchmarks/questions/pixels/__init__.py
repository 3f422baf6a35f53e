"""What a policy that sees pictures has to change when their look does."""
