"""Bytes between processes: frames, connections, shared memory. Knows nothing of deployments."""
