"""Names of other systems, answered by Salver, in processes that ask for it."""
