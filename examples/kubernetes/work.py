"""
What runs in the pod that leads. It knows nothing of elections but its token.
"""

import os
import time

while True:
    print(f"{os.environ['LEADERSHIP_NODE']} works, token {os.environ['LEADERSHIP_TOKEN']}", flush=True)
    time.sleep(0.5)
