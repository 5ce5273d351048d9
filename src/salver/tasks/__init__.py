"""Tasks from other systems' queues, worked on by replicas."""
