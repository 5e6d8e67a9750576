"""The whole gateway as a process, between a real pty and a real broker."""

from pathlib import Path

from gateway.tests.standins import Cloud, GatewayProcess, Mosquitto, Stream, Unit, stopping, wait_until


def test_records_reach_the_cloud_and_the_receipt_reaches_the_unit(tmp_path: Path) -> None:
    stream = Stream("one")
    stream.write(40)
    broker = Mosquitto(tmp_path).start()
    unit = Unit(stream, tmp_path / "unit").plug()
    cloud = Cloud(broker.port).enrol(stream)
    gateway = GatewayProcess(tmp_path, [str(unit.link)], {"host": "127.0.0.1", "port": broker.port}).start()
    with stopping(gateway, cloud, unit, broker):
        wait_until(lambda: unit.archived_next == 40, "all is archived")
        stream.write(5)
        wait_until(lambda: unit.archived_next == 45, "what came later is archived")
        assert cloud.holds(stream)
        wait_until(lambda: gateway.live().get("spooled") == 0, "the spool is empty")
        assert gateway.stop() == 0
