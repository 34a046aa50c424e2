"""The operator's process: kopf, the workers of the queue, and the metrics, in one event loop."""

import asyncio
import logging
import sys
from datetime import UTC, datetime

import kopf
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, start_http_server
from pydantic import ValidationError

from thaw_operator.cluster_api import ClusterApi
from thaw_operator.handlers import Handlers
from thaw_operator.metrics import Metrics
from thaw_operator.observed import Key
from thaw_operator.reconcile import Reconciler
from thaw_operator.settings import Settings
from thaw_operator.work_queue import WorkQueue, work

_NOT_FOUND, _AGAIN_SECONDS = 404, 1.0
_log = logging.getLogger(__name__)


def main() -> None:
    """Entry point of `thaw-operator`: runs until it is told to stop."""
    try:
        settings = Settings()
    except ValidationError as error:
        lines = [f"THAW_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()]
        sys.exit("\n".join(["the operator's settings cannot be used:", *lines]))
    kopf.configure(log_format=kopf.LogFormat.JSON)
    logging.getLogger().setLevel(settings.log_level)
    # They tell of every event and every probe; our own lines tell of every transition.
    for name in ("kopf", "aiohttp.access"):
        logging.getLogger(name).setLevel("WARNING")
    asyncio.run(run(settings))


async def run(settings: Settings) -> None:
    """Watches and reconciles until kopf ends, which is when the process is told to."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    metrics = Metrics(registry)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, registry=registry)
    await _load_configuration()
    queue = WorkQueue(asyncio.get_running_loop().time)
    handlers = Handlers(queue, settings.reconcile_seconds)
    async with ApiClient() as client:
        api = ClusterApi(client, metrics.requested)
        watching = asyncio.create_task(_watch(handlers, api, settings))
        working = [asyncio.create_task(_work(handlers, api, queue, settings, metrics)) for _ in range(settings.workers)]
        done, _ = await asyncio.wait([watching, *working], return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, *working):
            task.cancel()
        await asyncio.gather(watching, *working, return_exceptions=True)
        for task in done:
            task.result()


async def _load_configuration() -> None:
    """The pod's own account, else a kubeconfig, as for kopf. The client's own choice would warn in plain text, and the
    log is JSON."""
    try:
        config.load_incluster_config()
    except config.ConfigException:
        await config.load_kube_config()


async def _watch(handlers: Handlers, api: ClusterApi, settings: Settings) -> None:
    """Runs kopf until the process is told to end; anew when KubeRay's resources have come or gone.

    kopf looks for new resources when a CRD is written, which is a moment before they are served: it may miss them for
    ever. When it starts, it sees all that there are.
    """
    namespaces = settings.served_namespaces()
    endpoint = f"http://0.0.0.0:{settings.liveness_port}/healthz" if settings.liveness_port else None
    while True:
        installed = asyncio.Event()
        noticing = asyncio.create_task(_notice_kuberay(api, installed, settings.recheck_seconds))
        try:
            await kopf.operator(
                registry=handlers.registry,
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                liveness_endpoint=endpoint,
                stop_flag=installed,
            )
        except Exception as error:
            # A watch was opened while its resource went away. kopf's own class of this is private.
            if getattr(error, "status", None) != _NOT_FOUND:
                raise
            _log.warning("a watched resource is not served: %s; watching anew", error)
            await asyncio.sleep(_AGAIN_SECONDS)
        else:
            if not installed.is_set():
                return
            _log.info("KubeRay has been installed; watching anew")
        finally:
            noticing.cancel()


async def _notice_kuberay(api: ClusterApi, installed: asyncio.Event, seconds: float) -> None:
    """Where KubeRay is missing now, sets the event when it has come."""
    missed = False
    while not await _knows_ray_jobs(api):
        missed = True
        await asyncio.sleep(seconds)
    if missed:
        installed.set()


async def _knows_ray_jobs(api: ClusterApi) -> bool:
    try:
        return await api.knows_ray_jobs()
    except Exception:  # the apiserver is away: kopf says so, and looks again as well
        return False


async def _work(handlers: Handlers, api: ClusterApi, queue: WorkQueue, settings: Settings, metrics: Metrics) -> None:
    async def reconcile(key: Key) -> None:
        # A key comes from an event, and events come after kopf has filled the indices.
        assert handlers.indices is not None
        reconciler = Reconciler(api, handlers.indices, queue, settings, metrics, lambda: datetime.now(UTC))
        await reconciler.reconcile(key)

    def on_error(key: Key, delay: float) -> None:
        _log.exception("%s/%s: the reconcile failed, and is tried again in %.0f s", *key, delay)

    await work(queue, reconcile, on_error)
