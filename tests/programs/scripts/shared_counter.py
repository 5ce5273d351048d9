"""As in Ray Serve's guide: an actor class, shared by the replicas of a deployment."""

import ray
from ray import serve
from ray.serve.config import DeploymentActorConfig


@ray.remote
class SharedCounter:
    def __init__(self, start=0):
        self.count = start

    def increment(self):
        self.count += 1
        return self.count


@serve.deployment(
    num_replicas=2,
    deployment_actors=[
        DeploymentActorConfig(
            name="counter", actor_class=SharedCounter, init_kwargs={"start": 10},
            actor_options={"num_cpus": 0},
        )
    ],
)  # fmt: skip
class Driver:
    def __call__(self):
        counter = serve.get_deployment_actor("counter")
        return ray.get(counter.increment.remote())


handle = serve.run(Driver.bind())
print(sorted(handle.remote().result() for _ in range(3)))
