"""Where a call starts: handles, responses, routers and what they know of replicas."""
