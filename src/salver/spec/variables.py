"""Environment variables of Ray Serve's: those that mean something here, and why others do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ("HONOURED", "UNUSED", "told")

# Read in `settings.py`.
HONOURED: Final[Mapping[str, str]] = {
    "RAY_PROMETHEUS_HEADERS": "What a `PrometheusQueryMixin` sends along, as JSON.",
    "RAY_PROMETHEUS_HOST": "The server that a `PrometheusQueryMixin` asks, unless given.",
    "RAY_SERVE_DEFAULT_HTTP_HOST": "The HTTP door's host where nothing else says it; "
    "`SALVER_HTTP_HOST` counts more.",
    "RAY_SERVE_FORCE_LOCAL_TESTING_MODE": "`1`: apps run in this process, as with "
    "`_local_testing_mode=True`.",
    "RAY_SERVE_RECORD_AUTOSCALING_STATS_TIMEOUT_S": "How long one `record_autoscaling_stats` may "
    "take, in seconds.",
    "RAY_SERVE_SESSION_ID_HEADER_KEY": "The header that names a request's session, where "
    "http_options' `session_id_header` does not.",
}
_TRACING: Final = "nothing is traced yet"
_ONE_PATH: Final = "there is one way for all calls, and it is the fast one"
_NO_POLLING: Final = "replicas say how full they are; nobody asks and waits"
_METRICS: Final = "metrics are made when the page is asked for, for each deployment and replica"
_NO_TIMES: Final = "Salver's own metrics count; times go into a serve.metrics.Histogram of yours"
_REPORTS: Final = "loads are reported by callers once a second, and at once when a call has to wait"
_PROFILING: Final = "attach a profiler to the process, whose id the log names"
UNUSED: Final[Mapping[str, str]] = {
    "RAY_SERVE_COLLECT_AUTOSCALING_METRICS_ON_HANDLE": _REPORTS,
    "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH": "the controller runs no code of users",
    "RAY_SERVE_CONTROLLER_METRICS_INCLUDE_HIGH_CARDINALITY_TAGS": _METRICS,
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "the controller acts when something changes",
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": _ONE_PATH,
    "RAY_SERVE_ENABLE_HA_PROXY": _ONE_PATH,
    "RAY_SERVE_ENABLE_MEMORY_PROFILING": _PROFILING,
    "RAY_SERVE_ENABLE_TASK_EVENTS": "there are no tasks of Ray's",
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "use graceful_shutdown_timeout_s",
    "RAY_SERVE_FREEZE_GC_ON_STARTUP": "processes are forked with their memory frozen already",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": _REPORTS,
    "RAY_SERVE_HAPROXY_BINARY_PATH": _ONE_PATH,
    "RAY_SERVE_HAPROXY_TCP_NODELAY": _ONE_PATH,
    "RAY_SERVE_HIGH_PRIORITY_CUSTOM_RESOURCES": "there is one machine to place replicas on",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "the door runs no code of users: "
    "middlewares are an app's. Put them on the FastAPI or Starlette app that is given to "
    "@serve.ingress; a plain class is given `api = FastAPI(middleware=[...])` the same way, "
    "and its `__call__` another name and a route, such as `@api.get('/')`",
    "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING": "language models come later",
    "RAY_SERVE_LOG_CLIENT_ADDRESS": "lines of the access log have no addresses; request.client has",
    "RAY_SERVE_LOG_TO_STDERR": "redirect stderr; logging_config's logs_dir adds files",
    "RAY_SERVE_MAX_CACHED_HANDLES": "handles are kept for as long as somebody holds them",
    "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "use max_constructor_retry_count",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "metrics are made when the page is asked for",
    "RAY_SERVE_MODEL_LOAD_LATENCY_BUCKETS_MS": _NO_TIMES,
    "RAY_SERVE_MULTIPLEXED_MODEL_ID_MATCHING_TIMEOUT_S": "a call goes elsewhere at once when all "
    "that hold its model are full",
    "RAY_SERVE_PROXY_GC_THRESHOLD": "the collector runs as Python has it",
    "RAY_SERVE_PROXY_PREFER_LOCAL_AZ_ROUTING": "there is one machine",
    "RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "there is one machine",
    "RAY_SERVE_PROXY_USE_GRPC": _ONE_PATH,
    "RAY_SERVE_QUEUE_LENGTH_CACHE_TIMEOUT_S": _NO_POLLING,
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": _NO_POLLING,
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": _REPORTS,
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": "calls between deployments have no such limit",
    "RAY_SERVE_REPLICA_STARTUP_SHUTDOWN_LATENCY_BUCKETS_MS": _NO_TIMES,
    "RAY_SERVE_REQUEST_LATENCY_BUCKETS_MS": _NO_TIMES,
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "log lines leave at once",
    "RAY_SERVE_RETAINED_DEAD_REPLICAS": "dead replicas are in the log",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": _ONE_PATH,
    "RAY_SERVE_RUN_SYNC_IN_THREADPOOL": "functions without `async` always run in threads",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "async code runs on the replica's own loop",
    "RAY_SERVE_STOP_FAILED_ROLLING_UPDATES": "a failed update always leaves the version before",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": _ONE_PATH,
    "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": _TRACING,
    "RAY_SERVE_TRACING_SAMPLING_RATIO": _TRACING,
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": _ONE_PATH,
    "RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY": "there is one machine",
}


def told(names: Iterable[str]) -> str:
    """Of variables that are set, those that mean nothing here, each with the reason; or nothing."""
    unused = sorted(name for name in names if name not in HONOURED)
    return "; ".join(f"{name} ({UNUSED.get(name, 'not known here')})" for name in unused)
