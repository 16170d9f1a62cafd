"""Writes `snapshot.yaml`: the assets with their groups and checks, the jobs, schedules and sensors of the project.

After a change that is meant: `python -m cleverbetter_dagster_tests.defs.snapshot`.
"""

from pathlib import Path
from typing import Any

import yaml

from cleverbetter_dagster.definitions import defs

FILE = Path(__file__).with_name("snapshot.yaml")


def snapshot() -> str:
    """What the project shows to Dagster, by kind and name, as YAML."""
    graph = defs.resolve_asset_graph()
    checks = sorted((check.asset_key, check.name) for check in graph.asset_check_keys)
    jobs = {job.name: job for job in defs.resolve_all_job_defs() if job.name != "__ASSET_JOB"}
    shown = {
        "assets": {
            key.to_user_string(): {
                "group": graph.get(key).group_name,
                "reads": names(graph.get(key).parent_keys),
                "checks": [name for asset, name in checks if asset == key],
            }
            for key in sorted(graph.get_all_asset_keys())
        },
        "jobs": {name: names(jobs[name].asset_layer.executable_asset_keys) for name in sorted(jobs)},
        "schedules": {
            schedule.name: {"job": schedule.job_name, "cron": schedule.cron_schedule}
            for schedule in sorted(defs.schedules or [], key=lambda schedule: schedule.name)
        },
        "sensors": {
            sensor.name: {
                "jobs": sorted(target.job_name for target in sensor.targets),
                "seconds": sensor.minimum_interval_seconds,
            }
            for sensor in sorted(defs.sensors or [], key=lambda sensor: sensor.name)
        },
    }
    return yaml.safe_dump(shown, default_flow_style=None, sort_keys=False, width=120)


def names(keys: Any) -> list[str]:
    return sorted(key.to_user_string() for key in keys)


if __name__ == "__main__":
    FILE.write_text(snapshot())
