"""
A Celery application with a schedule. The broker is a folder, so that there is nothing to set up.
"""

import os

from celery import Celery

os.makedirs("queue", exist_ok=True)
app = Celery("tasks", broker=os.environ.get("BROKER_URL", "filesystem://"))
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}
app.conf.beat_schedule = {"tidy": {"task": "tasks.tidy", "schedule": 1.0}}
app.conf.beat_max_loop_interval = 1


@app.task
def tidy() -> None:
    print("tidied up", flush=True)
