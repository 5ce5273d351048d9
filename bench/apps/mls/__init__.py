"""MLServer's model; its settings are written where the server starts."""
