"""A certificate authority for one run, and a certificate of it for 127.0.0.1."""

import subprocess

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def write(folder):
    """Writes `gateway.pem` and `gateway.key` into the folder; returns the path of the authority's certificate."""
    authority, request = folder / "authority.pem", folder / "request.pem"
    run(
        ["req", "-x509", *NEW_KEY, "-days", "1", "-subj", "/CN=Millrace tests"]
        + ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        + ["-keyout", folder / "authority.key", "-out", authority]
    )
    run(["req", "-new", *NEW_KEY, "-subj", "/CN=127.0.0.1", "-keyout", folder / "gateway.key", "-out", request])
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    run(
        ["x509", "-req", "-in", request, "-CA", authority, "-CAkey", folder / "authority.key", "-days", "1"]
        + ["-CAcreateserial", "-extfile", extensions, "-out", folder / "gateway.pem"]
    )
    (folder / "gateway.key").chmod(0o600)
    return authority


def run(arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
