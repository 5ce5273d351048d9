"""What Salver serves: `salver run bench.apps.salver_app:hello` and so on."""

from __future__ import annotations

from bench.apps import many_models, programs
from salver import serve

MANY = 256

hello = serve.deployment(max_ongoing_requests=MANY)(programs.Hello).bind()
hello_limit = serve.deployment(programs.Hello).bind()
hello_sync = serve.deployment(max_ongoing_requests=MANY)(programs.HelloSync).bind()
sse = serve.deployment(max_ongoing_requests=MANY)(programs.Events).bind()
upload = serve.deployment(max_ongoing_requests=MANY)(programs.Upload).bind()
upload_buffer = serve.deployment(max_ongoing_requests=MANY)(programs.UploadBuffer).bind()
blocked = serve.deployment(num_replicas=2)(programs.Blocked).bind()

_adder = serve.deployment(max_ongoing_requests=MANY)(programs.Adder)
compose = serve.deployment(max_ongoing_requests=MANY)(programs.Compose).bind(
    _adder.options(name="First").bind(1),
    _adder.options(name="Second").bind(2),
    serve.deployment(max_ongoing_requests=MANY)(programs.Combiner).bind(),
)
handle = serve.deployment(max_ongoing_requests=MANY)(programs.HandleLoop).bind(
    serve.deployment(max_ongoing_requests=1000)(programs.Echo).bind()
)
scale, scale_second, scale_default = (
    serve.deployment(autoscaling_config=programs.SCALING[app])(programs.Named).bind()
    for app in ("scale", "scale_second", "scale_default")
)
batch, batch_two = (
    serve.deployment(max_ongoing_requests=MANY)(programs.batches(serve.batch, at_once)).bind()
    for at_once in (1, 2)
)
batch_loop = serve.deployment(programs.BatchLoop).bind()
multiplex = serve.deployment(max_ongoing_requests=MANY)(many_models.ModelLoop).bind(
    serve.deployment(num_replicas=many_models.REPLICAS, max_ongoing_requests=MANY)(
        many_models.many_models(serve.multiplexed, serve.get_multiplexed_model_id)
    ).bind()
)
