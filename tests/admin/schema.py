"""Throws generated requests at every endpoint of the OpenAPI document: no 5xx, no answer outside the document.

Usage: schema.py [EXAMPLES]. EXAMPLES is the number of requests an endpoint and kind of test, 100 by default.
"""

import pathlib
import subprocess
import sys

from gateway import Gateway

TEXT = "chat_models: [{model_id: m, model: mock/m}]\nroutes: {chat: {chat_models: [m]}}\n"
# What the document promises and every answer must keep. Schemathesis has more checks; those left out ask for what the API
# does not promise: that each body it generates from the schema is accepted, whatever the state of the object.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance"
)


def main():
    examples = sys.argv[1] if len(sys.argv) > 1 else "100"
    gateway = Gateway().start()
    tool = pathlib.Path(sys.executable).with_name("schemathesis")
    try:
        organization = gateway.api("GET", "/organizations")[0]["data"][0]["id"]
        # Something to find, so that not everything is 404.
        gateway.serve_project(organization, "Found", TEXT)
        status = subprocess.run(
            [
                tool,
                "run",
                f"http://{gateway.admin}/openapi.json",
                "--url", f"http://{gateway.admin}/api/v1",
                "--header", f"authorization: Bearer {gateway.token}",
                "--checks", CHECKS,
                "--max-examples", examples,
                # Its answer has no end.
                "--exclude-path", "/projects/{project}/logs/tail",
                "--workers", "2",
                "--continue-on-failure",
                "--suppress-health-check", "all",
                "--warnings", "off",
                "--no-color",
            ],
            check=False,
            cwd=gateway.folder,
        ).returncode
        # The process still serves, and says so.
        if gateway.call("GET", "/readyz")[0] != 200:
            print("the gateway is not ready any more")
            status = status or 1
    finally:
        gateway.stop()
    return status


sys.exit(main())
