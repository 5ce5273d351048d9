"""`salver.serve.generated`: what clients of `ray.serve.RayServeAPIService` import."""
