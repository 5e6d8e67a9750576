"""The bench prints the rows that `cartrace bench wire` promises. Speed itself is not asserted."""

import json

import pytest

from wire import bench


def test_rows_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "ROUNDS", 1)
    bench.main(["--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["sign", "verify", "decode", "judge_run_1", "judge_run_128"]
    for row in rows:
        assert set(row) == {"name", "value", "unit", "baseline", "ratio"}
        assert row["unit"] == "records/s"
        assert row["ratio"] == pytest.approx(row["value"] / row["baseline"], abs=0.01)
    bench.main([])
    assert "judge_run_128" in capsys.readouterr().out
