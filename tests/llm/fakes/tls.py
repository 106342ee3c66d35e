"""A certificate for 127.0.0.1 that nobody has signed but itself, and its key: for fake servers only."""

from __future__ import annotations

import ssl
from pathlib import Path

__all__ = ["CERTIFICATE", "server_context"]

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBkTCCATagAwIBAgIUBhVJithvt4H6t30Mn1gHoaWxqLcwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyOTEwNTI0MloYDzIxMjYxMTA1
MTA1MjQyWjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAR7Vu7Mum78BZsRf2Z62ZqerSBT8PZl370PusQMU6K+AA8tKPXqhl7J
+QMHbA/CSzGkAQPLGhZ4yvsiA7Uko8Uoo2QwYjAdBgNVHQ4EFgQU6pDqN8OGWqoK
BrhaIx1BhIKg3tEwHwYDVR0jBBgwFoAU6pDqN8OGWqoKBrhaIx1BhIKg3tEwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0kAMEYC
IQCbxbarpXBQE7m/Lqe6Ee7NAgmM95l9qnApgdun/jW+1wIhAPwYSBa/J+4Srz22
pRWPs8iZkgu6jAil0G9x+X//WXWk
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghMx4yZfeBj77LUGJ
KmwWNJcgWdJEQnNI9D+UlVXN3ZGhRANCAAR7Vu7Mum78BZsRf2Z62ZqerSBT8PZl
370PusQMU6K+AA8tKPXqhl7J+QMHbA/CSzGkAQPLGhZ4yvsiA7Uko8Uo
-----END PRIVATE KEY-----
"""


def server_context(folder: Path) -> ssl.SSLContext:
    """Return what a server presents; its certificate lies in `folder` then, as `certificate.pem`."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(CERTIFICATE)
    key.write_text(KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
