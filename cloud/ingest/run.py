"""Starts one ingest process and ends it in order on SIGINT or SIGTERM. Killing it at any instant is harmless too."""

import signal
from types import FrameType

from cloud.config import Config, cloud_seed, wall_clock
from cloud.ingest.mqtt import Uplink
from cloud.ingest.worker import Worker


def run_ingest(config: Config, shards: list[int]) -> None:
    """Ingest these shards until told to stop. Raises ConfigError."""
    uplink = Uplink(config, shards)
    worker = Worker(uplink.deliveries, uplink, wall_clock(), cloud_seed(config), config.mqtt_root)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        worker.stopping.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    uplink.run(worker)
