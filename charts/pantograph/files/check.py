"""What `helm test` runs in a pod of the release, as the operator: is the operator ready, and may it do its work?"""

import json
import os
import ssl
import sys
import time
import urllib.request

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def ask(url, **more):
    with urllib.request.urlopen(url, timeout=10, **more) as answer:
        return answer.read().decode()


def ready(url, patience=60):
    """A Service takes a moment to find a pod that has just become ready."""
    end = time.monotonic() + patience
    while True:
        try:
            return ask(url)
        except OSError as error:
            if time.monotonic() > end:
                raise SystemExit(f"{url} does not answer with 200: {error}") from error
            time.sleep(1)


def api(path):
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    with open(f"{ACCOUNT}/token") as file:
        request = urllib.request.Request(server + path, headers={"Authorization": f"Bearer {file.read()}"})
    return json.loads(ask(request, context=ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")))


operator, namespaces = sys.argv[1], [name for name in sys.argv[2].split(",") if name]
ready(f"http://{operator}/readyz")
print("the operator is ready")
if "pantograph_build_info" not in ready(f"http://{operator}/metrics"):
    raise SystemExit("/metrics has no pantograph_build_info")
print("it has metrics")
for namespace in namespaces or [""]:
    within = f"namespaces/{namespace}/" if namespace else ""
    for kind in ("databases", "sourcetables", "reflections"):
        found = api(f"/apis/pantograph.dev/v1alpha1/{within}{kind}")["items"]
        ready = [
            one
            for one in found
            for each in one.get("status", {}).get("conditions", [])
            if (each["type"], each["status"]) == ("Ready", "True")
        ]
        print(f"{len(found)} {kind}{f' in {namespace}' if namespace else ''}, {len(ready)} of them Ready")
